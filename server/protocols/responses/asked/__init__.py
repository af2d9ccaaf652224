"""What is asked for in the words of Responses, as what upstream is asked.

request      the whole request: passed on, or as one of chat completions
input_items  its items as messages
tools        its tools
"""
