"""Transcripts in four languages with answers of an imagined recognizer, for the golden error rates.

Sentences are ours: numbers, dates, money, percentages, contractions, British spellings, traditional characters, mixed
scripts, tags and remarks in brackets. An answer says the same in another form, with errors here and there.
"""

import random

NUM_ROWS = 200

# Each part is one form; a row takes one form for the reference and one for the answer, independently.
AMOUNTS = {
    "en": (
        ["$20", "20 dollars", "twenty dollars", "Twenty Dollars"],
        ["£3.50", "three pounds fifty", "three pounds and fifty pence", "3.50 pounds"],
        ["12%", "12 percent", "twelve per cent", "twelve percent", "12 %"],
        ["1,250", "1250", "twelve hundred fifty", "one thousand two hundred and fifty"],
        ["2.5 million", "two point five million", "two and a half million", "2,500,000"],
        ["the 1960s", "the nineteen sixties", "the sixties", "the '60s"],
        ["the 21st of May 1998", "May 21, 1998", "the twenty first of may nineteen ninety eight"],
        ["room 101", "room one oh one", "room one hundred and one"],
        ["7:30", "seven thirty", "half past seven", "7.30"],
        ["double seven two", "seven seven two", "772"],
        ["minus 4 degrees", "-4 degrees", "minus four degrees"],
        ["€19.99 and 5¢", "nineteen euros ninety nine and five cents", "19.99 euros and 5 cents"],
        ["a 3rd", "a third", "one third", "1/3"],
        ["one", "1", "ones", "the ones"],
    ),
    "zh": (
        ["2021年5月8日", "二零二一年五月八日", "二〇二一年五月八号", "2021年5月8号"],
        ["98年10月", "九八年十月", "1998年10月", "一九九八年十月"],
        ["3块5毛", "三块五毛", "3.5元", "三点五元"],
        ["2200元", "两千二百元", "二千二百元", "2,200元", "２２００元"],
        ["12.5%", "百分之十二点五", "12.5％"],
        ["3/4", "四分之三", "3 / 4"],
        ["13912345678", "一三九一二三四五六七八", "+86 13912345678", "幺三九一二三四五六七八"],
        ["010-62345678", "零一零六二三四五六七八", "01062345678"],
        ["20多个人", "二十多个人", "20几个人", "两十多个人"],
        ["2两茶叶", "二两茶叶", "两两茶叶"],
        ["10086", "一零零八六", "一万零八十六"],
        ["0.5千克", "零点五千克", "半千克", "00.5千克"],
        ["105号", "一百零五号", "一零五号"],
        ["30000000人", "三千万人", "3000万人"],
        ["B2B", "B二B", "b2b"],
        ["15月5月", "十五月五月", "15 月 5 月"],
    ),
    "yue": (
        ["二十個", "20個", "廿個", "二十个"],
        ["三蚊", "3蚊", "$3"],
        ["臺灣", "台湾", "台灣"],
        ["裏面", "里面", "裡面"],
        ["計算機軟體", "计算机软件", "電腦軟件"],
        ["乾淨", "干净", "乾净"],
        ["頭髮", "头发", "頭发"],
        ["WhatsApp", "whatsapp", "What's App"],
        ["百分之十", "10%", "一成"],
        ["２０２１年", "2021年", "二零二一年"],
    ),
    "fr": (
        ["20 €", "20 euros", "vingt euros", "20€"],
        ["3,5 %", "3,5 pour cent", "trois virgule cinq pour cent"],
        ["1 250", "1250", "mille deux cent cinquante", "1.250"],
        ["le 14 juillet 1789", "le quatorze juillet mille sept cent quatre-vingt-neuf", "14/07/1789"],
        ["quatre-vingt-dix", "quatre vingt dix", "90", "nonante"],
        ["l'œuvre", "l’œuvre", "l'oeuvre", "L'ŒUVRE"],
        ["aujourd'hui", "aujourd’hui", "aujourd hui"],
        ["M. Lefèvre", "monsieur Lefèvre", "M Lefevre"],
        ["n° 5", "numéro 5", "numéro cinq"],
        ["ça", "Ça", "sa", "c\u0327a"],
    ),
}
SENTENCES = {
    "en": (
        "We paid {} for it, didn't we?",
        "It's {}; I can't believe they've gone.",
        "Mr. O'Neil won't organise the colour programme before {}.",
        'He said: "Let\'s meet at {}, Dr. Grey."',
        "The neighbour's grey tyre cost about {} (laughs) last year.",
        "um, she'd been to the theatre {} times, hmm",
        "I'm gonna wait for {} - you're welcome to join us.",
        "St. Mary's centre sold {} jewellery pieces!",
        "Y'all shoulda seen {} at the café, ma'am.",
        "That's {}, isn't it? [noise] Yes it is.",
        "Prof. Allen and Capt. Moore analysed {} of the catalogue",
        "They dunno, 'cause {} was kinda late.",
    ),
    "zh": (
        "会议在{}举行，请大家准时参加。",
        "这个东西要{}，太贵了！",
        "他说：“{}就够了”。",
        "公司的WiFi密码是{}，别忘了。",
        "今年（第一季度）增长了{}……",
        "我们一共有{}、不多也不少",
        "老师问：{}是多少？学生答不上来·",
        "《新闻》报道：{}，比去年多。",
        "请拨打{}，谢谢",
        "iPhone和{}都卖完了。",
    ),
    "yue": (
        "我哋今日買咗{}，好平呀！",
        "佢話{}嗰度有好多人。",
        "「{}」係咩意思？",
        "聽日去{}食飯，好唔好？",
        "呢個{}(笑)真係好靚……",
        "後面嗰條隊有{}咁長，",
        "政府公佈{}嘅數據。",
        "你個仔今年讀{}班啦",
    ),
    "fr": (
        "Nous avons payé {} à l'épicerie, n'est-ce pas ?",
        "Il s'appelle {} ; c'est mon frère aîné.",
        "« {} », dit-elle en riant.",
        "Qu'est-ce que {} veut dire (rires) aujourd'hui ?",
        "J'ai noté {} – puis je suis parti.",
        "Les élèves ont reçu {} : quelle fête !",
        "Où est {} ? [bruit] Je ne sais pas…",
        "Le Noël passé, {} a coûté très cher.",
    ),
}
MARKS = {"en": ',.?!;:"', "zh": "，。！？、“”：", "yue": "，。！？「」", "fr": ",.?!;:«»"}
LETTERS = {"en": "aeiost", "zh": "的一是不了在", "yue": "嘅咗係唔喺啲", "fr": "éaeisu"}
TAGS = ("<|{0}|>", "<|{0}|><|transcribe|>", "<|0.00|>", "  ", "")


def transcripts(language: str) -> list[tuple[str, str]]:
    """Reference and answer of each row; the same in every run."""
    rng = random.Random(f"transcripts {language}")
    rows = []
    for number in range(NUM_ROWS):
        amount = AMOUNTS[language][number % len(AMOUNTS[language])]
        sentence = SENTENCES[language][rng.randrange(len(SENTENCES[language]))]
        reference, answer = (sentence.replace("{}", rng.choice(amount)) for _ in range(2))
        rows.append(
            (_in_tags(rng, reference, language), _in_tags(rng, _spoilt(rng, answer, language), language))
        )
    return rows


def _in_tags(rng: random.Random, text: str, language: str) -> str:
    tag = rng.choice(TAGS).format(language)
    return f"{tag}{text}{rng.choice(['', '', '<|endoftext|>', chr(10)])}"


def _spoilt(rng: random.Random, text: str, language: str) -> str:
    """The text with errors of a recognizer: case, marks, letters and words."""
    kind = rng.randrange(8)
    if kind == 0:
        return text
    if kind == 1:
        return text.upper()
    if kind == 2:
        return "".join(" " if c in MARKS[language] else c for c in text)
    if kind == 3:
        return "".join(f" {c} " if c in MARKS[language] else c for c in text)
    letters = list(text)
    for _ in range(kind - 3):
        place = rng.randrange(len(letters))
        letters[place : place + rng.randrange(2)] = rng.choice([[], [rng.choice(LETTERS[language])], [" "]])
    return "".join(letters)
