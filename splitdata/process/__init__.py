"""Worker processes and what travels between them and their consumer: MpQItr, and the pool of the loader's workers.

docs/channel.md follows a batch through these folders.

    mpqitr.py     MpQItr: a generator in another process
    pool/         workers that stay and serve requests: processes or threads
    consumer/     what the consumer has of each worker: start, wait, receive, end
    worker/       what runs in the worker: its life, requests, replies
    wire/         messages, pipes, shared memory, errors on their way
    identity/     what code does, as a digest
"""
