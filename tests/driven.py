"""A notebook run from top to bottom whose widgets are then moved over the real comm channel, as a browser does it."""

import asyncio
from contextlib import contextmanager
from pathlib import Path

import nbformat
from nbclient import NotebookClient


class Driven(NotebookClient):
    def run_all(self) -> None:
        for index, cell in enumerate(self.nb.cells):
            self.execute_cell(cell, index)

    def models(self, name: str) -> dict[str, dict]:
        """The widgets of a kind that the kernel has announced: model id -> state."""
        return {model: state for model, state in self.widget_state.items() if state.get("_model_name") == name}

    def move(self, model: str, **state) -> list[dict]:
        """Send what JupyterLab sends when a control is moved; return every message that came of it."""
        return self._send(model, {"method": "update", "state": state, "buffer_paths": []})

    def click(self, model: str) -> list[dict]:
        """Send what JupyterLab sends when a button is clicked; return every message that came of it."""
        return self._send(model, {"method": "custom", "content": {"event": "click"}})

    def _send(self, model: str, data: dict) -> list[dict]:
        content = {"comm_id": model, "data": data}
        message = self.kc.session.msg("comm_msg", content)
        self.kc.shell_channel.send(message)
        caused = []
        while True:
            reply = self._next()
            if reply["parent_header"].get("msg_id") != message["header"]["msg_id"]:
                continue
            if reply["msg_type"] == "status" and reply["content"]["execution_state"] == "idle":
                return caused
            caused.append(reply)

    def _next(self) -> dict:
        reply = self.kc.get_iopub_msg(timeout=30)
        return asyncio.get_event_loop().run_until_complete(reply) if asyncio.iscoroutine(reply) else reply

    def value_of(self, expression: str) -> str:
        """The repr of an expression in the notebook's own kernel."""
        self.nb.cells.append(nbformat.v4.new_code_cell(expression))
        cell = self.execute_cell(self.nb.cells[-1], len(self.nb.cells) - 1)
        return "".join(o["data"]["text/plain"] for o in cell["outputs"] if "data" in o)


@contextmanager
def driven(path: Path):
    """The notebook at `path`, executed, its kernel still alive."""
    client = Driven(
        nbformat.read(path, 4), timeout=60, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    )
    with client.setup_kernel():
        client.run_all()
        yield client
