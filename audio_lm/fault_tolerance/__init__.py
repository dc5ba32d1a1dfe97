"""What a run does when something ends it: it is told, it dies, it freezes, it is started again."""
