"""Inference: from a rendered prompt and a clip to what a server said, one at a time or by the thousand.

endpoint   Endpoint, Sampling, and the workspace's list of endpoints
messages   build_messages: system and user message, audio before text
seeds      sample_seed: one seed for each sample
faults     Fault and its kinds: everything a server can do to a request
client     Client: one request over aiohttp; models, health, metrics
probe      endpoint_status, ready_endpoint: is it there, which model, how does audio reach it
pace       how many requests in flight
runner     run_batch: the batch road
stream     one answer as it is written
hub        get_hub: generations that outlive a page's rerun

Import from the modules: only what is used is then loaded (aiohttp, openai).
"""
