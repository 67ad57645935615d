"""Attacks a running Ray: connects to each given port and tries to read, write and run code. Prints what worked as JSON.

usage: stranger.py PORT ...; GCS_PORT is the port of Ray's head, RAY_AUTH_TOKEN the token, if there is one
"""

import json
import os
import socket
import sys
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException

TOKEN = os.environ.get("RAY_AUTH_TOKEN", "")
CALLS = (
    "InternalKVGcsService/InternalKVKeys",
    "InternalKVGcsService/InternalKVPut",
    "JobInfoGcsService/GetAllJobInfo",
    "ActorInfoGcsService/GetAllActorInfo",
    "NodeManagerService/GetNodeStats",
    "NodeManagerService/RequestWorkerLease",
    "ObjectManagerService/Pull",
    "CoreWorkerService/GetCoreWorkerStats",
    "CoreWorkerService/PushTask",
)
PATHS = ("/", "/get_or_create_runtime_env", "/get_runtime_envs_info", "/api/jobs/", "/metrics")
REFUSED = b"InvalidAuthToken"
UNIMPLEMENTED = b"12"


def frame(kind, flags, stream, payload=b""):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def literal(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def grpc(port, call):
    """A gRPC server's answer to one call with an empty message: refused, let in, unknown call, or no grpc at all."""
    headers = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": b"/ray.rpc." + call.encode(),
        b":authority": b"localhost",
        b"te": b"trailers",
        b"content-type": b"application/grpc",
    }
    if TOKEN:
        headers[b"authorization"] = b"Bearer " + TOKEN.encode()
    block = b"".join(literal(*pair) for pair in headers.items())
    said = b""
    try:
        with socket.create_connection(("127.0.0.1", port), 3) as connection:
            connection.settimeout(1.5)
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0))
            connection.sendall(frame(1, 4, 1, block) + frame(0, 1, 1, b"\0\0\0\0\0"))
            while b"grpc-status" not in said and (part := connection.recv(4096)):
                said += part
    except OSError:
        pass
    if b"grpc-status" not in said:
        return "no grpc"
    if REFUSED in said:
        return "refused"
    length, *value = said.partition(b"grpc-status")[2][:4]
    return "unknown call" if bytes(value[:length]) == UNIMPLEMENTED else "let in"


def http(port, path):
    headers = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", b"", headers)
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:
            return f"let in ({answer.status})"
    except urllib.error.HTTPError as error:
        return "refused" if error.code in (401, 403) else f"let in ({error.code})"
    except (OSError, ValueError, HTTPException):
        return "no http"


def run_code(port):
    """Whether our code ran when submitted through Ray's own client."""
    done = []

    def attack():
        import ray

        ray.init(address=f"127.0.0.1:{port}", log_to_driver=False, _node_ip_address="127.0.0.1")
        done.append(ray.get(ray.remote(num_cpus=0)(lambda: os.getpid()).remote(), timeout=60))

    def body():
        try:
            attack()
        except Exception as error:
            done.append(repr(error)[:200])

    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(40)
    return done[0] if done else "no answer"


def attacked(port):
    """((port, the answer to each gRPC call), (port, the answer to each HTTP path))."""
    return (port, {call: grpc(port, call) for call in CALLS}), (port, {path: http(port, path) for path in PATHS})


def main():
    ports = [int(word) for word in sys.argv[1:]]
    with ThreadPoolExecutor(len(ports)) as at_once:  # most of the time goes into waiting for silent ports
        said = dict(zip(("grpc", "http"), map(dict, zip(*at_once.map(attacked, ports), strict=True)), strict=True))
    said["code"] = run_code(int(os.environ["GCS_PORT"]))
    sys.stdout.write("\n" + json.dumps(said) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
