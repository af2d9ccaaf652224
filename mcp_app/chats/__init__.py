"""A chat tool's call: what is asked of OpenRouter, started, followed, and told.

request, options  the body for OpenRouter, checked before anything is sent
turns             going on from an answer that is kept
cap               what an answer may cost, before and while money is spent
chat, several     one answer, or those of several models side by side
"""
