"""Refusal of a request, in OpenAI's format of errors."""

import json


class RequestError(Exception):
    """Request that gets no answer.

    Args:
        message: for the person who wrote the client.
        status: of HTTP.
        code: short name that programs test for.
        param: field of the request.
    """

    def __init__(
        self, message: str, *, status: int = 400, code: str = "invalid_value", param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param = status, code, param

    def body(self) -> bytes:
        """JSON of the response."""
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        table = {"message": str(self), "type": kind, "param": self.param, "code": self.code}
        return json.dumps({"error": table}).encode()
