/* libcurl's easy interface over a UNIX socket (or, for doctor, TCP). Thread: one at a time for each session. */
#include "common/admin/control_client.h"

#include "common/http/http_status.h"
#include "common/core/alloc.h"
#include "common/admin/api.h"

#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { ERROR_BODY_MAX = 64 * 1024, JSON_BODY_MAX = 256 * 1024 * 1024 };

struct control {
    CURL *easy;
    const struct node_config *node;
    char socket[CONTROL_PATH_MAX]; /* "" for TCP */
    char base[400];
    bool insecure;
};

/* One request under way. */
struct transfer {
    const struct control_request *rq;
    struct control_answer answer;
    struct buf error_body;
    int64_t got;
    int code;
    CURL *easy;
    curl_socket_t socket; /* where a descriptor is passed */
};

static void init_curl(void) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0) abort();
}

static struct control *control_new(const struct node_config *node) {
    static pthread_once_t once = PTHREAD_ONCE_INIT; /* pull opens sessions in several threads */
    pthread_once(&once, init_curl);
    struct control *c = xcalloc(1, sizeof(*c));
    if (!(c->easy = curl_easy_init())) out_of_memory();
    c->node = node;
    return c;
}

int control_open(struct control **out, const struct node_config *node, struct error *err) {
    char path[CONTROL_PATH_MAX];
    int r = control_socket_path(node->data, path, err);
    if (r < 0) return r;
    struct control *c = control_new(node);
    memcpy(c->socket, path, sizeof(path));
    snprintf(c->base, sizeof(c->base), "http://localhost");
    *out = c;
    return 0;
}

int control_open_url(struct control **out, const struct node_config *node, const char *base, bool insecure,
                     struct error *err) {
    if (strlen(base) >= sizeof((*out)->base)) return error_set(err, ERR_TOO_BIG, "address too long: %.100s", base);
    struct control *c = control_new(node);
    snprintf(c->base, sizeof(c->base), "%s", base);
    c->insecure = insecure;
    *out = c;
    return 0;
}

void control_close(struct control *c) {
    if (!c) return;
    curl_easy_cleanup(c->easy);
    free(c);
}

void control_closep(struct control **c) {
    control_close(*c);
}

char *control_escape(const char *s) {
    static const char digits[] = "0123456789ABCDEF";
    char *out = xmalloc(strlen(s) * 3 + 1), *o = out;
    for (; *s; s++) {
        unsigned char ch = (unsigned char)*s;
        if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') || strchr("-._~/", ch)) {
            *o++ = (char)ch;
        } else {
            *o++ = '%';
            *o++ = digits[ch >> 4];
            *o++ = digits[ch & 15];
        }
    }
    *o = '\0';
    return out;
}

static bool header_is(const char *line, size_t len, const char *name, char *out, size_t cap) {
    size_t n = strlen(name);
    if (len <= n || line[n] != ':' || strncasecmp(line, name, n) != 0) return false;
    const char *v = line + n + 1, *end = line + len;
    while (v < end && (*v == ' ' || *v == '\t'))
        v++;
    while (end > v && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' '))
        end--;
    snprintf(out, cap, "%.*s", (int)(end - v), v);
    return true;
}

static size_t on_header(char *line, size_t size, size_t n, void *arg) {
    (void)size;
    struct control_answer *a = &((struct transfer *)arg)->answer;
    char length[32];
    if (n > 5 && memcmp(line, "HTTP/", 5) == 0) {
        memset(a, 0, sizeof(*a));
        a->length = -1;
    }
    if (header_is(line, n, "Cache-Status", a->cache_status, sizeof(a->cache_status)) ||
        header_is(line, n, "Content-Type", a->media_type, sizeof(a->media_type)) ||
        header_is(line, n, "Docker-Content-Digest", a->digest, sizeof(a->digest)) ||
        header_is(line, n, "Warning", a->warning, sizeof(a->warning)))
        return n;
    if (header_is(line, n, "Content-Length", length, sizeof(length))) a->length = strtoll(length, NULL, 10);
    return n;
}

static size_t on_data(char *data, size_t size, size_t n, void *arg) {
    (void)size;
    struct transfer *t = arg;
    long status = 0;
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status / 100 != 2) {
        size_t room = ERROR_BODY_MAX - t->error_body.len;
        if (buf_add(&t->error_body, data, n < room ? n : room) < 0) return 0;
        return n;
    }
    t->got += (int64_t)n;
    if (t->rq->max_body > 0 && t->got > t->rq->max_body) {
        t->code = ERR_TOO_BIG;
        return 0;
    }
    if (t->rq->data && !t->rq->data(data, n, t->rq->arg)) {
        t->code = ERR_CANCELLED;
        return 0;
    }
    return n;
}

/* root may ask for a node that another user runs; a node refuses to start on another user's folder. */
static bool of_another_user(const char *data) {
    struct stat st;
    return stat(data, &st) == 0 && st.st_uid != geteuid();
}

/* A plain user's data folder differs from the service's, so the hint names that one. */
void control_no_daemon_hint(const struct node_config *n, struct error *err) {
    char service[64];
    snprintf(service, sizeof(service), "/var/lib/entrepot/%s", n->kind == NODE_CENTRAL ? "central" : "edge");
    if (geteuid() != 0 && strcmp(n->data, service) != 0 && (access(service, F_OK) == 0 || errno == EACCES))
        error_hint(err, "this machine's service keeps its data in %s: `sudo %s …` asks it", service, n->program);
    else if (geteuid() == 0 && of_another_user(n->data))
        error_hint(err, "start it with `systemctl start %s`, or as the user whose folder that is", n->program);
    else
        error_hint(err, "start it with `%s serve%s%s`", n->program, n->config_file ? " --config " : "",
                   n->config_file ? n->config_file : "");
}

static int no_daemon(const struct control *c, struct error *err) {
    const struct node_config *n = c->node;
    if (access(n->data, X_OK) < 0 && errno == EACCES) {
        error_set(err, ERR_DENIED, "%s: permission denied", n->data);
        error_hint(err, "it belongs to another user: as root, `sudo %s …`", n->program);
        return ERR_DENIED;
    }
    error_set(err, ERR_UNREACHABLE, "no %s is running on %s", n->program, n->data);
    control_no_daemon_hint(n, err);
    return ERR_UNREACHABLE;
}

static int curl_failed(const struct control *c, const struct transfer *t, CURLcode code, const char *words,
                       struct error *err) {
    if (t->code == ERR_TOO_BIG) return error_set(err, ERR_TOO_BIG, "the answer is longer than this command takes");
    if (t->code < 0) return error_set(err, t->code, "%s", error_name(t->code));
    if (c->socket[0] && code == CURLE_COULDNT_CONNECT) {
        if (access(c->socket, F_OK) == 0 && access(c->socket, W_OK) < 0) {
            error_set(err, -EACCES, "%s is running as another user: its socket %s may not be opened", c->node->program,
                      c->socket);
            error_hint(err, "run this command as that user or as root");
            return -EACCES;
        }
        return no_daemon(c, err);
    }
    int mine = code == CURLE_OPERATION_TIMEDOUT                                      ? ERR_TIMEOUT
               : code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST ? ERR_UNREACHABLE
                                                                                     : ERR_UPSTREAM;
    return error_set(err, mine, "%s", words[0] ? words : curl_easy_strerror(code));
}

/* Reads the message of a refusal: ours ({"error":{…}}) or a registry's ({"errors":[…]}). */
static void error_words(const struct transfer *t, char out[300], char hint[256]) {
    hint[0] = '\0';
    snprintf(out, 300, "answered %d", t->answer.status);
    json_t *doc = t->error_body.len ? json_loadb(t->error_body.data, t->error_body.len, 0, NULL) : NULL;
    json_t *e = json_object_get(doc, "error");
    if (!e) e = json_array_get(json_object_get(doc, "errors"), 0);
    const char *message = json_string_value(json_object_get(e, "message"));
    const char *more = json_string_value(json_object_get(e, "hint"));
    if (!more) more = json_string_value(json_object_get(e, "detail"));
    if (message && *message) snprintf(out, 300, "%s", message);
    if (more) snprintf(hint, 256, "%s", more);
    json_decref(doc);
}

static int refused(const struct transfer *t, struct error *err) {
    char words[300], hint[256];
    error_words(t, words, hint);
    int code = http_status_error(t->answer.status);
    error_set(err, code, "%s", words);
    error_hint(err, "%s", hint);
    return code;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a) {
    (void)purpose;
    struct transfer *t = arg;
    t->socket = socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
    return t->socket;
}

/* Connected, right before the request is sent: passes the descriptor with an empty line, which the server skips there
 * (RFC 9112 section 2.2). */
static int pass_descriptor(void *arg, char *ip, char *local_ip, int port, int local_port) {
    (void)ip;
    (void)local_ip;
    (void)port;
    (void)local_port;
    const struct transfer *t = arg;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    char line[] = "\r\n";
    struct iovec iov = {.iov_base = line, .iov_len = 2};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *h = CMSG_FIRSTHDR(&msg);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), t->rq->passed, sizeof(int));
    return sendmsg(t->socket, &msg, MSG_NOSIGNAL) == 2 ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

static void set_up(struct control *c, const struct control_request *rq, struct transfer *t,
                   char words[CURL_ERROR_SIZE]) {
    CURL *e = c->easy;
    char url[9000];
    snprintf(url, sizeof(url), "%s%s", c->base, rq->path);
    curl_easy_reset(e);
    curl_easy_setopt(e, CURLOPT_URL, url);
    if (c->socket[0]) curl_easy_setopt(e, CURLOPT_UNIX_SOCKET_PATH, c->socket);
    if (c->socket[0] && rq->passed) {
        curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, 1L);
        curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, open_socket);
        curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, t);
        curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, pass_descriptor);
        curl_easy_setopt(e, CURLOPT_PREREQDATA, t);
    }
    curl_easy_setopt(e, CURLOPT_PROXY, "");
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, 5000L);
    curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)rq->timeout_ms);
    if (rq->stall_s > 0) {
        curl_easy_setopt(e, CURLOPT_LOW_SPEED_LIMIT, 1L);
        curl_easy_setopt(e, CURLOPT_LOW_SPEED_TIME, (long)rq->stall_s);
    }
    if (c->insecure) {
        curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (strcmp(rq->method, "HEAD") == 0) curl_easy_setopt(e, CURLOPT_NOBODY, 1L);
    if (strcmp(rq->method, "POST") == 0) {
        curl_easy_setopt(e, CURLOPT_POST, 1L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE, 0L);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, "");
    }
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 256L * 1024);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, t);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, words);
}

int control_ask(struct control *c, const struct control_request *rq, struct control_answer *answer, struct error *err) {
    if (strlen(rq->path) > 8000) return error_set(err, ERR_TOO_BIG, "request too long");
    struct transfer t = {.rq = rq, .answer = {.length = -1}, .easy = c->easy};
    char words[CURL_ERROR_SIZE] = "";
    buf_init(&t.error_body, ERROR_BODY_MAX + 1);
    set_up(c, rq, &t, words);
    struct curl_slist *headers = NULL;
    char accept[1024];
    if (rq->accept) {
        snprintf(accept, sizeof(accept), "Accept: %s", rq->accept);
        headers = curl_slist_append(headers, accept);
        curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, headers);
    }
    CURLcode code = curl_easy_perform(c->easy);
    long status = 0;
    curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, NULL);
    curl_slist_free_all(headers);
    t.answer.status = (int)status;
    int r = code != CURLE_OK ? curl_failed(c, &t, code, words, err) : status / 100 != 2 ? refused(&t, err) : 0;
    if (answer) *answer = t.answer;
    buf_fini(&t.error_body);
    return r;
}

static bool collect(const void *data, size_t len, void *arg) {
    return buf_add(arg, data, len) == 0;
}

/* Fills in where the answer goes. */
static int ask_json(struct control *c, struct control_request rq, json_t **out, struct error *err) {
    struct buf body;
    buf_init(&body, JSON_BODY_MAX);
    rq.max_body = JSON_BODY_MAX;
    rq.data = collect;
    rq.arg = &body;
    int r = control_ask(c, &rq, NULL, err);
    if (r == 0) {
        *out = json_loadb(body.data ? body.data : "", body.len, 0, NULL);
        if (!json_is_object(*out)) {
            json_decref(*out);
            *out = NULL;
            r = error_set(err, ERR_UPSTREAM, "%s gave an answer that is not JSON", c->node->program);
        }
    }
    buf_fini(&body);
    return r;
}

int control_json(struct control *c, const char *method, const char *path, json_t **out, struct error *err) {
    return ask_json(c, (struct control_request){.method = method, .path = path}, out, err);
}

int control_post_passing(struct control *c, const char *path, int passed, json_t **out, struct error *err) {
    return ask_json(c, (struct control_request){.method = "POST", .path = path, .passed = &passed}, out, err);
}
