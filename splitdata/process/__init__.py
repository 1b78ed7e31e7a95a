"""A generator in another process, its batches through shared memory.

mpqitr.py      MpQItr, the public face
start.py       puts a worker together
channel.py     the consumer's end: an iterator            outlet.py    the worker's end
inlet.py       bytes -> frames                            worker.py    the worker's life
handle.py      what a worker costs, given back once       guard.py     what keeps it from being left behind
children.py    processes seen from outside                launch.py    spawn and fork; forkserver.py
frames.py      every byte of the messages                 wires.py     how they travel
arena.py       shared memory                              slots.py     whose bytes are whose
batches.py     batches <-> pickle and buffers             travel.py    functions to the worker
remote.py      exceptions from the worker                 explain.py   what does not pickle
stall.py       timeouts and warnings                      options.py    options; budget.py: the memory
"""
