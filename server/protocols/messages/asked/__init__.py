"""What is asked for in the words of Messages.

request      as a call: passed on, or translated
chat_request, turns  the same in the words of chat completions
count        how many tokens it may have
"""
