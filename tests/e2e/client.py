"""Calls the main routes through a client that was generated from the API's description."""

import sys

from restock_client import AuthenticatedClient
from restock_client.api.apps import apps_list, apps_status, apps_update
from restock_client.api.jobs import jobs_history, jobs_list, jobs_one
from restock_client.models import App, AppStatus, Job, JobResult, Problem

url, key, name = sys.argv[1:]
client = AuthenticatedClient(base_url=url, token=key)


def answer(reply, kind):
    """The body of an answer that must be of this kind."""
    assert isinstance(reply, kind), repr(reply)
    return reply


(app,) = apps_list.sync(client=client)
answer(app, App)
assert app.name == name, app
assert app.services[0].containers[0].state.value == "running", app

status = answer(apps_status.sync(name, client=client, force=True), AppStatus)
assert status.status.value == "outdated", status

result = answer(apps_update.sync(name, client=client), JobResult)
assert result.updated and result.outcome.value == "updated", result
assert result.services[0].service == "web", result

job = answer(jobs_one.sync(result.job, client=client), Job)
assert job.app == name and job.state.value == "finished" and job.result.updated, job
assert [one.id for one in jobs_list.sync(client=client)] == [job.id]
assert jobs_history.sync(client=client)[0].id == job.id

refused = answer(apps_update.sync("nope", client=client), Problem)
assert refused.code == "no_such_app" and refused.status == 404, refused
