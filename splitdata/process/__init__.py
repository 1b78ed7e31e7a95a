"""A generator in another process, its batches through shared memory.

mpqitr.py      MpQItr, the public face
pool.py        WorkerPool: workers that serve requests    process_crew.py   its processes; backlog.py
channel.py     one worker: an iterator                    lifetime.py  one call at a time, an end that is final
receiver.py    the consumer's end                         outlet.py    the worker's end; requests.py
watch.py       waits for many workers at once             worker.py    the worker's life
inlet.py       bytes -> frames                            guard.py     what keeps it from being left behind
handle.py      what a worker costs, given back once       start.py     puts workers together
children.py    processes seen from outside                launch.py    spawn and fork; forkserver.py
frames.py      every byte of the messages                 wires.py     how they travel
arena.py       shared memory                              slots.py     whose bytes are whose
batches.py     batches <-> pickle and buffers             travel.py    functions to the worker
remote.py      exceptions from the worker                 explain.py   what does not pickle
stall.py       timeouts and warnings                      options.py   options; budget.py: the memory
"""
