"""Run by Alembic for every command; the caller (``store.engine.migrate``) brings the connection."""

from alembic import context

from edgeagent.gateway.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
