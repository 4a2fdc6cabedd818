"""A mutating webhook that has an opinion of its own: every ConfigMap of one name gets its value.

    mutating_webhook.py CERTIFICATE KEY NAME VALUE

Prints its port, and answers the API server's AdmissionReviews until it is ended.
"""

import base64
import http.server
import json
import ssl
import sys

CERTIFICATE, KEY, NAME, VALUE = sys.argv[1:]


class Webhook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        response = {"uid": request["uid"], "allowed": True}
        if request["object"]["metadata"].get("name") == NAME:
            patch = json.dumps([{"op": "add", "path": "/data/value", "value": VALUE}]).encode()
            response |= {"patchType": "JSONPatch", "patch": base64.b64encode(patch).decode()}
        answer = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE, KEY)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
