"""A generator in another process, its batches through shared memory.

mpqitr.py      MpQItr, the public face
pool.py        WorkerPool: workers that serve requests    process_pool.py   its processes; pending_requests.py
channel.py     one worker: an iterator                    lifetime.py  one call at a time, an end that is final
receiver.py    the consumer's end                         sender.py    the worker's end; requests.py
wait.py       waits for many workers at once             worker.py    the worker's life
frame_reader.py       bytes -> frames                            worker_setup.py     what keeps it from being left behind
worker_handle.py      what a worker costs, given back once       start.py     puts workers together
child_process.py    processes seen from outside                launch.py    spawn and fork; forkserver.py
messages.py      every byte of the messages                 pipes.py     how they travel
arena.py       shared memory                              slots.py     whose bytes are whose
batch_pickle.py     batches <-> pickle and buffers             function_pickle.py    functions to the worker
remote_error.py      exceptions from the worker                 unpicklable.py   what does not pickle
wait_timeout.py       timeouts and warnings                      channel_options.py   options; memory_budget.py: the memory
"""
