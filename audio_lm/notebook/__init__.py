"""Views of runs, data, words and preference pairs, which notebooks show as pictures, tables and players."""
