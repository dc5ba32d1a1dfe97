"""Phrases in eight languages: each row is one phrase with its translations.

Text is in lower case without punctuation; German nouns are capitalized. Japanese is written in kana, because the
synthesizer cannot read kanji.
"""
# ruff: noqa: E501

COLUMNS = ("en", "de", "fr", "es", "it", "zh", "ja", "ko")

_ROWS = """
good morning|guten Morgen|bonjour|buenos días|buongiorno|早上好|おはよう ございます|좋은 아침입니다
good night|gute Nacht|bonne nuit|buenas noches|buonanotte|晚安|おやすみなさい|안녕히 주무세요
thank you very much|vielen Dank|merci beaucoup|muchas gracias|molte grazie|非常感谢|どうも ありがとう|대단히 감사합니다
i am hungry|ich habe Hunger|j'ai faim|tengo hambre|ho fame|我饿了|おなかが すきました|배가 고파요
i am thirsty|ich habe Durst|j'ai soif|tengo sed|ho sete|我渴了|のどが かわきました|목이 말라요
where is the station|wo ist der Bahnhof|où est la gare|dónde está la estación|dov'è la stazione|车站在哪里|えきは どこですか|역은 어디에 있나요
what time is it|wie spät ist es|quelle heure est-il|qué hora es|che ore sono|现在几点|いま なんじですか|지금 몇 시예요
i do not understand|ich verstehe nicht|je ne comprends pas|no entiendo|non capisco|我不明白|わかりません|이해하지 못해요
please help me|bitte helfen Sie mir|aidez-moi s'il vous plaît|ayúdeme por favor|mi aiuti per favore|请帮助我|たすけて ください|도와주세요
how much is it|wie viel kostet das|combien ça coûte|cuánto cuesta|quanto costa|多少钱|いくらですか|얼마예요
the water is cold|das Wasser ist kalt|l'eau est froide|el agua está fría|l'acqua è fredda|水很冷|みずが つめたい|물이 차가워요
the house is big|das Haus ist groß|la maison est grande|la casa es grande|la casa è grande|房子很大|いえが おおきい|집이 커요
the dog is small|der Hund ist klein|le chien est petit|el perro es pequeño|il cane è piccolo|狗很小|いぬが ちいさい|개가 작아요
it is raining|es regnet|il pleut|está lloviendo|sta piovendo|下雨了|あめが ふっています|비가 와요
the sun is shining|die Sonne scheint|le soleil brille|el sol brilla|il sole splende|阳光照耀|たいようが かがやいています|태양이 빛나요
i like music|ich mag Musik|j'aime la musique|me gusta la música|mi piace la musica|我喜欢音乐|おんがくが すきです|음악을 좋아해요
i am reading a book|ich lese ein Buch|je lis un livre|leo un libro|leggo un libro|我在看书|ほんを よんでいます|책을 읽고 있어요
we are going home|wir gehen nach Hause|nous rentrons à la maison|vamos a casa|andiamo a casa|我们回家|わたしたちは いえに かえります|우리는 집에 가요
the door is open|die Tür ist offen|la porte est ouverte|la puerta está abierta|la porta è aperta|门开着|ドアが あいています|문이 열려 있어요
my name is anna|ich heiße Anna|je m'appelle Anna|me llamo Anna|mi chiamo Anna|我叫安娜|わたしの なまえは アンナです|제 이름은 안나예요
i live in berlin|ich wohne in Berlin|j'habite à Berlin|vivo en Berlín|abito a Berlino|我住在柏林|ベルリンに すんでいます|베를린에 살아요
tomorrow is monday|morgen ist Montag|demain c'est lundi|mañana es lunes|domani è lunedì|明天是星期一|あしたは げつようびです|내일은 월요일이에요
the food is good|das Essen ist gut|la nourriture est bonne|la comida es buena|il cibo è buono|食物很好|たべものが いいです|음식이 좋아요
she is my sister|sie ist meine Schwester|c'est ma sœur|ella es mi hermana|lei è mia sorella|她是我的妹妹|かのじょは わたしの いもうとです|그녀는 제 여동생이에요
he is a doctor|er ist Arzt|il est médecin|él es médico|lui è medico|他是医生|かれは いしゃです|그는 의사예요
the train is late|der Zug hat Verspätung|le train est en retard|el tren llega tarde|il treno è in ritardo|火车晚点了|でんしゃが おくれています|기차가 늦어요
i would like coffee|ich möchte Kaffee|je voudrais du café|quisiera café|vorrei del caffè|我想要咖啡|コーヒーを ください|커피 주세요
see you tomorrow|bis morgen|à demain|hasta mañana|a domani|明天见|また あした|내일 봐요
happy birthday|alles Gute zum Geburtstag|joyeux anniversaire|feliz cumpleaños|buon compleanno|生日快乐|おたんじょうび おめでとう|생일 축하해요
the children are sleeping|die Kinder schlafen|les enfants dorment|los niños duermen|i bambini dormono|孩子们在睡觉|こどもたちは ねています|아이들이 자고 있어요
i am learning german|ich lerne Deutsch|j'apprends l'allemand|aprendo alemán|imparo il tedesco|我在学德语|ドイツごを べんきょうしています|독일어를 배워요
that is a good idea|das ist eine gute Idee|c'est une bonne idée|es una buena idea|è una buona idea|这是个好主意|それは いい かんがえです|좋은 생각이에요
i am tired|ich bin müde|je suis fatigué|estoy cansado|sono stanco|我累了|つかれました|피곤해요
the city is beautiful|die Stadt ist schön|la ville est belle|la ciudad es hermosa|la città è bella|城市很美|まちが うつくしい|도시가 아름다워요
the dog is big|der Hund ist groß|le chien est grand|el perro es grande|il cane è grande|狗很大|いぬが おおきい|개가 커요
the house is small|das Haus ist klein|la maison est petite|la casa es pequeña|la casa è piccola|房子很小|いえが ちいさい|집이 작아요
the water is good|das Wasser ist gut|l'eau est bonne|el agua es buena|l'acqua è buona|水很好|みずが いいです|물이 좋아요
i live in paris|ich wohne in Paris|j'habite à Paris|vivo en París|abito a Parigi|我住在巴黎|パリに すんでいます|파리에 살아요
tomorrow is sunday|morgen ist Sonntag|demain c'est dimanche|mañana es domingo|domani è domenica|明天是星期天|あしたは にちようびです|내일은 일요일이에요
i like coffee|ich mag Kaffee|j'aime le café|me gusta el café|mi piace il caffè|我喜欢咖啡|コーヒーが すきです|커피를 좋아해요
"""

PHRASES = tuple(dict(zip(COLUMNS, row.split("|"), strict=True)) for row in _ROWS.strip().splitlines())
"""Language -> text, for each phrase."""

NUM_NEW = 6
KNOWN_PHRASES, NEW_PHRASES = PHRASES[:-NUM_NEW], PHRASES[-NUM_NEW:]
"""New phrases are only in ``phrases_new-test``; they combine words of known ones."""
