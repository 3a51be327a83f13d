"""A small Hugging Face hub in memory: enough of the protocol for one user's models and datasets.

Written from the documented protocol and from what huggingface_hub sends. A hub speaks on one port; large files lie behind
another one, as they do at hubs whose storage is presigned: that port refuses requests that bring the hub's token along.
"""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

TOKEN = "hf_" + "T" * 34
USER = "ada"
GITATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
LARGE = 10_000_000


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def blob_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def pointer(oid, size):
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n".encode()


class Failure(Exception):
    def __init__(self, status, code, message):
        self.status, self.code, self.message = status, code, message


class Repo:
    """Files are {path: bytes} for small ones, {path: (sha256, size)} for large ones."""

    def __init__(self, private):
        self.private = private
        self.commits = {}  # id -> {"files", "parent", "title", "message"}
        self.refs = {}  # "refs/heads/main" -> id
        self.pull_requests = 0
        self.commit("refs/heads/main", {".gitattributes": GITATTRIBUTES}, "initial commit", "")

    def commit(self, ref, files, title, message, parent=None):
        text = json.dumps([sorted((k, repr(v)) for k, v in files.items()), parent, title, message])
        commit = hashlib.sha1(text.encode()).hexdigest()
        self.commits[commit] = {"files": files, "parent": parent, "title": title, "message": message}
        self.refs[ref] = commit
        return commit

    def resolve(self, revision):
        for ref in (revision, f"refs/heads/{revision}", f"refs/tags/{revision}"):
            if ref in self.refs:
                return self.refs[ref]
        if revision in self.commits:
            return revision
        raise Failure(404, "RevisionNotFound", f"Invalid rev id: {revision}")


class Hub:
    def __init__(self, page_size=1000, part_size=None, exchange=None):
        self.repos = {}  # ("models", "ada/x") -> Repo
        self.objects = {}  # sha256 -> bytes
        self.parts = {}  # (sha256, number) -> bytes
        self.page_size, self.part_size = page_size, part_size
        self.exchange = exchange  # called with (server, method, target, headers, body, status, headers, body)
        self.lock = threading.Lock()
        self.servers = {name: self._start(name) for name in ("hub", "storage")}
        self.url, self.storage = (self._url(name) for name in ("hub", "storage"))

    def _url(self, name):
        return f"http://127.0.0.1:{self.servers[name].server_address[1]}"

    def _start(self, name):
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *arguments):
                pass

            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                try:
                    with hub.lock:
                        serve = hub.serve if name == "hub" else hub.serve_storage
                        status, headers, reply = serve(self.command, self.path, self.headers, body)
                except Failure as failure:
                    status = failure.status
                    headers = {"X-Error-Code": failure.code, "X-Error-Message": failure.message}
                    reply = {"error": failure.message}
                if not isinstance(reply, bytes):
                    headers = {"Content-Type": "application/json; charset=utf-8", **headers}
                    reply = json.dumps(reply).encode()
                length = headers.pop("length", len(reply))
                self.send_response(status)
                for key, value in headers.items():
                    self.send_header(key, value)
                self.send_header("Content-Length", str(length))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(reply)
                if hub.exchange:
                    hub.exchange(name, self.command, self.path, self.headers, body, status, headers, reply)

            do_GET = do_POST = do_PUT = do_HEAD = do_DELETE = answer

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def close(self):
        for server in self.servers.values():
            server.shutdown()
            server.server_close()

    # Large files, presigned: whoever knows the address may use it.
    def serve_storage(self, method, target, headers, body):
        if "Authorization" in headers:
            raise Failure(400, "", "a presigned address takes no other credentials")
        parts = urlsplit(target).path.strip("/").split("/")
        oid = parts[1]
        if method == "PUT" and parts[0] == "objects":
            if sha256(body) != oid:
                raise Failure(400, "", "the content has another sha256")
            self.objects[oid] = body
            return 200, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}, b""
        if method == "PUT" and parts[0] == "parts":
            self.parts[oid, int(parts[2])] = body
            return 200, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}, b""
        data = self.objects[oid]
        return self.content(headers, data, {"ETag": f'"{oid}"'})

    @staticmethod
    def content(headers, data, extra):
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", headers.get("Range") or "")
        extra = {"Content-Type": "application/octet-stream", "Accept-Ranges": "bytes", **extra}
        if not found:
            return 200, extra, data
        first, last = int(found[1]), int(found[2] or len(data) - 1)
        if first >= len(data):
            raise Failure(416, "", "no such range")
        extra["Content-Range"] = f"bytes {first}-{min(last, len(data) - 1)}/{len(data)}"
        return 206, extra, data[first : last + 1]

    def user(self, headers):
        bearer = headers.get("Authorization")
        if bearer is None:
            return None
        if bearer != f"Bearer {TOKEN}":
            raise Failure(401, "", "Invalid credentials in Authorization header")
        return USER

    def repo(self, kind, repo_id, user):
        repo = self.repos.get((kind, repo_id))
        if repo is None or (repo.private and user is None):
            raise Failure(401 if user is None else 404, "RepoNotFound", "Repository not found")
        return repo

    def serve(self, method, target, headers, body):
        url = urlsplit(target)
        query = parse_qs(url.query)
        user = self.user(headers)
        if url.path == "/api/whoami-v2":
            if user is None:
                raise Failure(401, "", "Invalid username or password.")
            auth = {"type": "access_token", "accessToken": {"displayName": "test", "role": "write"}}
            return 200, {}, {"type": "user", "name": user, "fullname": "Ada", "orgs": [], "auth": auth}
        if (method, url.path) == ("POST", "/api/repos/create"):
            return self.create(json.loads(body), user)
        found = re.fullmatch(r"/(?:(datasets)/)?([\w.-]+/[\w.-]+)\.git/info/lfs/(\S+)", url.path)
        if found:
            # The completion of a multipart upload is presigned.
            who = USER if url.query == f"signature={found[3][-64:][:8]}" else self.writer(user)
            repo = self.repo(found[1] or "models", found[2], who)
            return self.large_files(repo, found[2], found[1] or "models", found[3], json.loads(body))
        found = re.fullmatch(r"/(?:(datasets)/)?([\w.-]+/[\w.-]+)/resolve/([^/]+)/(.+)", url.path)
        if found:
            repo = self.repo(found[1] or "models", found[2], user)
            return self.file(repo, unquote(found[3]), unquote(found[4]), headers)
        found = re.fullmatch(r"/api/(models|datasets)/([\w.-]+/[\w.-]+)(?:/([\w-]+)(?:/(.+))?)?", url.path)
        if not found:
            raise Failure(404, "", "Not found")
        kind, repo_id, verb, rest = found.groups()
        repo = self.repo(kind, repo_id, user)
        if method == "POST" and verb in ("preupload", "commit", "tag", "branch"):
            self.writer(user)
        handler = getattr(self, "serve_" + (verb or "revision").replace("-", "_"), None)
        if handler is None:
            raise Failure(404, "", "Not found")
        return handler(repo, kind, repo_id, rest, query, body)

    @staticmethod
    def writer(user):
        if user is None:
            raise Failure(401, "", "Invalid username or password.")
        return user

    def create(self, wanted, user):
        self.writer(user)
        owner = wanted.get("organization") or user
        if owner != user:
            raise Failure(403, "", f"You don't have the rights to create a model under the namespace \"{owner}\"")
        key = (wanted.get("type", "model") + "s", f"{owner}/{wanted['name']}")
        prefix = "" if key[0] == "models" else key[0] + "/"
        address = f"{self.url}/{prefix}{key[1]}"
        if key in self.repos:
            reply = {"error": f"You already created this {key[0][:-1]} repo", "url": address}
            return 409, {"X-Error-Message": reply["error"]}, reply
        private = wanted.get("visibility", "private" if wanted.get("private") else "public") == "private"
        self.repos[key] = Repo(private)
        return 200, {}, {"url": address, "name": key[1], "id": hashlib.sha1(key[1].encode()).hexdigest()[:24]}

    def serve_revision(self, repo, kind, repo_id, rest, query, body):
        commit = repo.resolve(unquote(rest or "main"))
        files = repo.commits[commit]["files"]
        info = {"_id": "0" * 24, "id": repo_id, "author": repo_id.split("/")[0], "sha": commit}
        info |= {"private": repo.private, "gated": False, "disabled": False, "downloads": 0, "likes": 0, "tags": []}
        info |= {"lastModified": "2026-11-01T00:00:00.000Z", "createdAt": "2026-11-01T00:00:00.000Z"}
        info["siblings"] = [{"rfilename": path} for path in sorted(files)]
        if kind == "models":
            info["modelId"] = repo_id
        if query.get("blobs"):
            for sibling in info["siblings"]:
                entry = self.entry(sibling["rfilename"], files[sibling["rfilename"]])
                sibling["size"], sibling["blobId"] = entry["size"], entry["oid"]
                if "lfs" in entry:
                    large = entry["lfs"]
                    sibling["lfs"] = {"sha256": large["oid"], "size": large["size"], "pointerSize": large["pointerSize"]}
        return 200, {}, info

    @staticmethod
    def entry(path, content):
        if isinstance(content, bytes):
            return {"type": "file", "oid": blob_id(content), "size": len(content), "path": path}
        oid, size = content
        text = pointer(oid, size)
        large = {"oid": oid, "size": size, "pointerSize": len(text)}
        return {"type": "file", "oid": blob_id(text), "size": size, "lfs": large, "path": path}

    def serve_tree(self, repo, kind, repo_id, rest, query, body):
        revision, _, folder = rest.partition("/")
        commit = repo.resolve(unquote(revision))
        folder = unquote(folder)
        files = repo.commits[commit]["files"]
        prefix = folder + "/" if folder else ""
        if folder and not any(path.startswith(prefix) for path in files):
            raise Failure(404, "EntryNotFound", f"{folder} does not exist on \"{unquote(revision)}\"")
        entries, folders = [], set()
        recursive = query.get("recursive", ["false"])[0].lower() == "true"
        for path in sorted(files):
            if not path.startswith(prefix):
                continue
            below = path[len(prefix) :].split("/")
            for depth in range(1, len(below)):
                folders.add(prefix + "/".join(below[:depth]))
                if not recursive:
                    break
            if recursive or len(below) == 1:
                entries.append(self.entry(path, files[path]))
        entries += [{"type": "directory", "oid": blob_id(name.encode()), "size": 0, "path": name} for name in sorted(folders)]
        start = int(query.get("cursor", ["0"])[0])
        headers = {"X-Repo-Commit": commit}
        if start + self.page_size < len(entries):
            options = "&".join(f"{k}={quote(v[0])}" for k, v in query.items() if k != "cursor")
            address = f"{self.url}/api/{kind}/{repo_id}/tree/{rest}?{options}&cursor={start + self.page_size}"
            headers["Link"] = f'<{address}>; rel="next"'
        return 200, headers, entries[start : start + self.page_size]

    def serve_refs(self, repo, kind, repo_id, rest, query, body):
        def named(folder):
            start = f"refs/{folder}/"
            names = [ref for ref in sorted(repo.refs) if ref.startswith(start)]
            return [{"name": ref[len(start) :], "ref": ref, "targetCommit": repo.refs[ref]} for ref in names]

        reply = {"branches": named("heads"), "converts": [], "tags": named("tags")}
        if query.get("include_prs"):
            reply["pullRequests"] = named("pr")
        return 200, {}, reply

    def serve_commits(self, repo, kind, repo_id, rest, query, body):
        commit = repo.resolve(unquote(rest))
        history = []
        while commit:
            one = repo.commits[commit]
            history.append({"id": commit, "title": one["title"], "message": one["message"], "authors": [{"user": USER}]})
            history[-1]["date"] = "2026-11-01T00:00:00.000Z"
            commit = one["parent"]
        return 200, {}, history

    def serve_preupload(self, repo, kind, repo_id, rest, query, body):
        files = repo.commits[repo.resolve(unquote(rest))]["files"]
        answer = []
        for wanted in json.loads(body)["files"]:
            sample, path = base64.b64decode(wanted["sample"]), wanted["path"]
            large = path.endswith(".safetensors") or wanted["size"] > LARGE or b"\0" in sample
            one = {"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
            if path in files:
                content = files[path]
                one["oid"] = blob_id(content) if isinstance(content, bytes) else content[0]
            answer.append(one)
        head = repo.resolve(unquote(rest))
        return 200, {}, {"files": answer, "commitOid": head}

    def large_files(self, repo, repo_id, kind, verb, wanted):
        prefix = "" if kind == "models" else kind + "/"
        base = f"{self.url}/{prefix}{repo_id}.git/info/lfs"
        reply_type = {"Content-Type": "application/vnd.git-lfs+json"}
        if verb == "objects/batch":
            objects, multipart = [], False
            for one in wanted["objects"]:
                oid, size = one["oid"], one["size"]
                answer = {"oid": oid, "size": size, "authenticated": True}
                if oid not in self.objects:
                    verify = {"href": f"{base}/verify"}
                    if self.part_size and size > self.part_size and "multipart" in wanted["transfers"]:
                        count = -(-size // self.part_size)
                        header = {"chunk_size": str(self.part_size)}
                        for n in range(1, count + 1):
                            header[str(n)] = f"{self.storage}/parts/{oid}/{n}?X-Amz-Signature={oid[:8]}"
                        upload = {"href": f"{base}/complete/{oid}?signature={oid[:8]}", "header": header}
                        multipart = True
                    else:
                        upload = {"href": f"{self.storage}/objects/{oid}?X-Amz-Signature={oid[:8]}"}
                    answer["actions"] = {"upload": upload, "verify": verify}
                objects.append(answer)
            return 200, reply_type, {"transfer": "multipart" if multipart else "basic", "objects": objects}
        if verb == "verify":
            if wanted["oid"] not in self.objects or len(self.objects[wanted["oid"]]) != wanted["size"]:
                raise Failure(404, "EntryNotFound", "no such object")
            return 200, reply_type, {"message": "ok"}
        oid = verb.removeprefix("complete/")
        parts = [self.parts[oid, part["partNumber"]] for part in wanted["parts"]]
        etags = [f'"{hashlib.md5(part).hexdigest()}"' for part in parts]
        data = b"".join(parts)
        if etags != [part["etag"] for part in wanted["parts"]] or sha256(data) != oid or wanted["oid"] != oid:
            raise Failure(400, "", "the parts don't make the object")
        self.objects[oid] = data
        return 200, {}, {"success": True}

    def serve_commit(self, repo, kind, repo_id, rest, query, body):
        branch = unquote(rest)
        head = repo.resolve(branch)
        lines = [json.loads(line) for line in body.splitlines() if line]
        header = lines[0]["value"]
        if lines[0]["key"] != "header":
            raise Failure(400, "", "the first line must be the header")
        if header.get("parentCommit", head) != head:
            raise Failure(412, "", "A commit has happened since. Please refresh and try again.")
        files = dict(repo.commits[head]["files"])
        for line in lines[1:]:
            value = line["value"]
            path = value["path"]
            if line["key"] == "file":
                files[path] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.objects:
                    raise Failure(400, "", f"the content of {path} was not uploaded")
                files[path] = (value["oid"], len(self.objects[value["oid"]]))
            elif line["key"] == "deletedFile":
                if files.pop(path, None) is None:
                    raise Failure(404, "EntryNotFound", "A file with this name doesn't exist")
            elif line["key"] == "deletedFolder":
                files = {name: content for name, content in files.items() if not name.startswith(path + "/")}
        ref = f"refs/heads/{branch}"
        reply = {"success": True}
        if query.get("create_pr"):
            repo.pull_requests += 1
            ref = f"refs/pr/{repo.pull_requests}"
            reply["pullRequestUrl"] = f"{self.url}/{repo_id}/discussions/{repo.pull_requests}"
        commit = repo.commit(ref, files, header["summary"], header["description"], head)
        reply |= {"commitOid": commit, "commitUrl": f"{self.url}/{repo_id}/commit/{commit}", "hookOutput": ""}
        return 200, {}, reply

    def serve_tag(self, repo, kind, repo_id, rest, query, body):
        return self.new_ref(repo, "refs/tags/" + json.loads(body)["tag"], unquote(rest))

    def serve_branch(self, repo, kind, repo_id, rest, query, body):
        return self.new_ref(repo, "refs/heads/" + unquote(rest), json.loads(body).get("startingPoint", "main"))

    @staticmethod
    def new_ref(repo, ref, revision):
        commit = repo.resolve(revision)
        if ref in repo.refs:
            raise Failure(409, "", f"Reference {ref.split('/', 2)[2]} already exists")
        repo.refs[ref] = commit
        return 201, {"Content-Type": "text/plain"}, b"Created"

    def file(self, repo, revision, path, headers):
        commit = repo.resolve(revision)
        content = repo.commits[commit]["files"].get(path)
        if content is None:
            error = Failure(404, "EntryNotFound", "Entry not found")
            error_headers = {"X-Repo-Commit": commit, "X-Error-Code": error.code, "X-Error-Message": error.message}
            return 404, error_headers, {"error": error.message}
        if isinstance(content, bytes):
            return self.content(headers, content, {"X-Repo-Commit": commit, "ETag": f'"{blob_id(content)}"'})
        oid, size = content
        location = f"{self.storage}/objects/{oid}?X-Amz-Signature={oid[:8]}"
        linked = {"X-Repo-Commit": commit, "X-Linked-Size": str(size), "X-Linked-Etag": f'"{oid}"', "Location": location}
        return 302, linked, b"Found. Redirecting"


def main():
    """Serves until it is ended: prints the address of the hub."""
    import sys

    hub = Hub(part_size=int(sys.argv[1]) if len(sys.argv) > 1 else None)
    print(hub.url, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
