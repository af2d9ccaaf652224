"""The engine itself, Redis or Valkey: connections, scripts, names of keys, what it must allow.

lines       connections, one command at a time, and what can go wrong with them
scripts     Lua that runs there
keys        what every key is called
first_look  whether it is one that we can work with
"""
