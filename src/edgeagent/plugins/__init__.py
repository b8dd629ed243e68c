"""What a plugin author imports: a base class, the answer, a refusal, and the job at hand (docs/plugins.md).

Light on purpose: the agent and every fresh job process pay for this import, so neither trio nor numpy is in it.
"""

from edgeagent.plugins.base import BaseWorkerPlugin, JobContext, RejectJob, WorkerResult, current_job

__all__ = ["BaseWorkerPlugin", "JobContext", "RejectJob", "WorkerResult", "current_job"]
