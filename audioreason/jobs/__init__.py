"""Jobs: work that outlives the page, the browser and a crash. There is no daemon and no scheduler.

actions    submit, plan, stop, resume, retry, duplicate, what_goes, delete
watch      list_jobs, job, tail_log, metrics: cheap reads of the true state
queue      reconcile: settle what died, start what fits; call it at each poll
resuming   resumable: whether going on can help, and why not
resources  usage: CPU, memory and GPU memory of a job now
kinds      what a job can be; the extension point for one's own
spec       JobSpec (job.json) and JobState (state.json)
rows       the table in lab.sqlite: order              processes  locks, tokens, signals: life
local      start a worker on this machine              worker     what runs a job
live       the Progress of a job                       logs       the end of a log, metrics
supervise  keep a server running                       vllm       its command and preflight
sizes      bytes of a model                            past       what past runs took
machine    GPUs and CPU slots                          endpoints  whom an evaluation asks
redact     no key in any file                          sieve      what writes the log
endings    how a job ended                             begun      what a job began with
cluster    the same jobs on a Ray cluster              ray_api    how it is spoken to

SQLite owns order, the lock owns life, state.json owns progress. Import from the modules: a worker starts
with what it needs alone.
"""
