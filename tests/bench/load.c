/* The bench's load generator: one thread, epoll, plain or TLS 1.3, that spends as little as it can on a byte (bodies
 * are discarded in the kernel) so that what is measured is the server. `load serve` is the trivial responder that its
 * ceiling is shown against. The result is one line of JSON. `load limits` says what one processor can do at all, `load
 * touch` takes memory and gives it back. Usage: see usage(). */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL
#define HEAD_MAX 8192
#define DISCARD (4 << 20)

enum state { IDLE, CONNECTING, HANDSHAKE, SENDING, HEAD, BODY };

struct conn {
    int fd;
    SSL *ssl;
    enum state state;
    bool first_seen; /* a byte of the body came */
    bool server_closes;
    uint32_t have;
    uint32_t sent;
    int64_t left; /* of the body; -1: to the end of the connection */
    int64_t began;
    char head[HEAD_MAX];
};

struct samples {
    uint32_t *us;
    size_t n, room;
};

static struct {
    const char *host, *path, *method;
    int port, conns;
    int64_t requests, rate;
    double seconds;
    bool close_each, tls, hold;
} opt = {.host = "127.0.0.1", .method = "GET", .conns = 1, .requests = INT64_MAX, .seconds = 1e9};

static struct {
    int64_t started, done, errors, bytes, statuses[6];
    struct samples last, first;
    bool over;
} run;

static volatile sig_atomic_t interrupted; /* SIGINT: ends the run early, with its report */

static int epoll_fd;
static SSL_CTX *tls;
static char request[2048];
static size_t request_len;
static char scratch[256 * 1024];

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * SECOND + t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static void sample(struct samples *s, int64_t ns) {
    if (s->n == s->room) {
        s->room = s->room ? s->room * 2 : 65536;
        s->us = realloc(s->us, s->room * sizeof(*s->us));
        if (!s->us) die("memory");
    }
    s->us[s->n++] = (uint32_t)(ns / 1000);
}

static int by_value(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void watch(struct conn *c, int op, uint32_t events) {
    struct epoll_event e = {.events = events, .data.ptr = c};
    if (epoll_ctl(epoll_fd, op, c->fd, &e) < 0) die("epoll_ctl");
}

static void conn_close(struct conn *c) {
    if (c->ssl) SSL_free(c->ssl);
    if (c->fd >= 0) close(c->fd);
    c->ssl = NULL;
    c->fd = -1;
    c->state = IDLE;
}

static void conn_open(struct conn *c) {
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)opt.port)};
    inet_pton(AF_INET, opt.host, &to.sin_addr);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (opt.hold) {
        int small = 16384;
        setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    }
    if (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) < 0 && errno != EINPROGRESS) die("connect");
    c->state = CONNECTING;
    watch(c, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP);
}

static bool begin(struct conn *c, int64_t at) {
    if (run.over || run.started >= opt.requests) return false;
    run.started++;
    c->began = at;
    c->have = c->sent = 0;
    c->first_seen = false;
    if (c->fd < 0)
        conn_open(c);
    else
        c->state = SENDING;
    return true;
}

static void failed(struct conn *c) {
    run.errors++;
    conn_close(c);
    if (run.errors > 1000) run.over = true;
}

static void finished(struct conn *c) {
    int64_t t = now();
    sample(&run.last, t - c->began);
    if (!c->first_seen) sample(&run.first, t - c->began);
    run.done++;
    if (opt.close_each || c->server_closes) conn_close(c);
    c->state = IDLE;
}

/* >0 bytes, 0 at the end, -1 none now, -2 broken. */
static ssize_t receive(struct conn *c, char *to, size_t room, bool discard) {
    ssize_t n;
    if (c->ssl) {
        n = SSL_read(c->ssl, discard ? scratch : to, (int)(discard && room > sizeof(scratch) ? sizeof(scratch) : room));
        if (n > 0) return n;
        int e = SSL_get_error(c->ssl, (int)n);
        return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE ? -1 : e == SSL_ERROR_ZERO_RETURN ? 0 : -2;
    }
    /* TCP: with MSG_TRUNC the kernel drops the bytes without a copy. */
    n = discard ? recv(c->fd, NULL, room, MSG_TRUNC) : recv(c->fd, to, room, 0);
    return n >= 0 ? n : errno == EAGAIN ? -1 : -2;
}

/* The two fields that matter, line by line: a search of the whole head for each cost more than the request. */
static void take_fields(struct conn *c, const char *line, const char *end, int64_t *length) {
    static const char content_length[] = "content-length:", connection[] = "connection: close";
    *length = -1;
    while (line && line < end) {
        if ((*line | 0x20) == 'c' && !strncasecmp(line, content_length, sizeof(content_length) - 1))
            *length = atoll(line + sizeof(content_length) - 1);
        else if ((*line | 0x20) == 'c' && !strncasecmp(line, connection, sizeof(connection) - 1))
            c->server_closes = true;
        line = memchr(line, '\n', (size_t)(end - line));
        if (line) line++;
    }
}

static bool take_head(struct conn *c) {
    char *end = memmem(c->head, c->have, "\r\n\r\n", 4);
    if (!end) return false;
    *end = '\0';
    int64_t length;
    c->server_closes = false;
    take_fields(c, c->head, end, &length);
    int status = atoi(c->head + 9);
    run.statuses[status >= 100 && status < 600 ? status / 100 : 0]++;
    if (status < 200 || status > 299) run.errors++;
    c->left = !strcmp(opt.method, "HEAD") ? 0 : length;
    int64_t more = (int64_t)c->have - (end + 4 - c->head);
    if (more > 0) {
        run.bytes += more;
        c->first_seen = true;
        sample(&run.first, now() - c->began);
        if (c->left > 0) c->left -= more;
    }
    c->state = BODY;
    return true;
}

static bool can_handshake(struct conn *c) {
    int r = SSL_connect(c->ssl);
    if (r == 1) return true;
    int e = SSL_get_error(c->ssl, r);
    if (e != SSL_ERROR_WANT_READ && e != SSL_ERROR_WANT_WRITE) failed(c);
    return false;
}

static void step_send(struct conn *c) {
    const char *p = request + c->sent;
    size_t left = request_len - c->sent;
    ssize_t n = c->ssl ? SSL_write(c->ssl, p, (int)left) : send(c->fd, p, left, MSG_NOSIGNAL);
    if (n <= 0) {
        if (c->ssl ? SSL_get_error(c->ssl, (int)n) != SSL_ERROR_WANT_WRITE : errno != EAGAIN) failed(c);
        return;
    }
    c->sent += (uint32_t)n;
    if (c->sent == request_len) c->state = HEAD;
}

static bool step_receive(struct conn *c) {
    if (c->state == BODY && c->left == 0) {
        finished(c);
        return true;
    }
    bool body = c->state == BODY;
    size_t room = !body ? HEAD_MAX - 1 - c->have : c->left < 0 || c->left > DISCARD ? DISCARD : (size_t)c->left;
    ssize_t n = receive(c, c->head + c->have, room, body);
    if (n == -1) return false;
    if (n == 0 && body && c->left < 0) {
        c->server_closes = true;
        finished(c);
        return true;
    }
    if (n <= 0) {
        failed(c);
        return false;
    }
    if (!body) {
        c->have += (uint32_t)n;
        if (!take_head(c) && c->have == HEAD_MAX - 1) failed(c);
        return true;
    }
    if (!c->first_seen) {
        c->first_seen = true;
        sample(&run.first, now() - c->began);
    }
    run.bytes += n;
    if (c->left > 0) c->left -= n;
    /* Edge-triggered: a short read has emptied the socket, but only epoll knows of the end of a connection. */
    return true;
}

/* Goes on until the connection waits for the kernel. */
static void advance(struct conn *c) {
    while (!run.over) {
        switch (c->state) {
        case IDLE:
            if (opt.rate || opt.hold || !begin(c, now())) return;
            break;
        case CONNECTING: {
            int e = 0;
            socklen_t len = sizeof(e);
            struct pollfd p = {.fd = c->fd, .events = POLLOUT};
            if (poll(&p, 1, 0) == 0) return;
            if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &len) < 0 || e) {
                failed(c);
                return;
            }
            c->state = SENDING;
            if (opt.tls) {
                c->ssl = SSL_new(tls);
                SSL_set_fd(c->ssl, c->fd);
                c->state = HANDSHAKE;
            }
            break;
        }
        case HANDSHAKE:
            if (!can_handshake(c)) return;
            c->state = SENDING;
            break;
        case SENDING:
            step_send(c); /* the answer is not here yet: a read now would find nothing */
            return;
        case HEAD:
        case BODY:
            if (!step_receive(c)) return;
            break;
        }
    }
}

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)u.ru_utime.tv_sec + (double)u.ru_stime.tv_sec +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void print_samples(const char *name, struct samples *s) {
    qsort(s->us, s->n, sizeof(*s->us), by_value);
    static const struct {
        const char *name;
        double at;
    } points[] = {{"p50", .5}, {"p99", .99}, {"p999", .999}, {"max", 1}};
    printf(", \"%s\": {", name);
    for (size_t i = 0; i < sizeof(points) / sizeof(*points); i++)
        printf("%s\"%s\": %u", i ? ", " : "", points[i].name,
               s->n ? s->us[(size_t)((double)(s->n - 1) * points[i].at)] : 0);
    printf("}");
}

static void report(int64_t began, double cpu) {
    double wall = (double)(now() - began) / 1e9;
    printf("{\"requests\": %lld, \"errors\": %lld, \"bytes\": %lld, \"seconds\": %.6f, \"cpu\": %.6f, \"ok\": %lld",
           (long long)run.done, (long long)run.errors, (long long)run.bytes, wall, cpu_seconds() - cpu,
           (long long)run.statuses[2]);
    print_samples("last_us", &run.last);
    print_samples("first_us", &run.first);
    printf("}\n");
    fflush(stdout);
}

/* With --rate: requests that are due go to idle connections, and are as late as they were sent late. */
static int64_t next_due(struct conn *conns, int64_t began) {
    static int at;
    int64_t t = now(), gap = SECOND / opt.rate;
    for (;;) {
        int64_t due = began + run.started * gap;
        if (due > t) return due - t;
        int tried = 0;
        while (tried < opt.conns && conns[at].state != IDLE)
            at = (at + 1) % opt.conns, tried++;
        if (tried == opt.conns) return SECOND;
        if (!begin(&conns[at], due)) return SECOND;
        advance(&conns[at]);
    }
}

static void loop(struct conn *conns) {
    int64_t began = now(), end = began + (int64_t)(opt.seconds * 1e9);
    double cpu = cpu_seconds();
    for (int i = 0; i < opt.conns && !opt.rate; i++)
        if (begin(&conns[i], now())) advance(&conns[i]);
    while (!run.over && !interrupted && run.done + run.errors < opt.requests) {
        int64_t t = now(), wait = end - t;
        if (wait <= 0) break;
        if (opt.rate) {
            int64_t due = next_due(conns, began);
            if (due < wait) wait = due;
        }
        struct timespec ts = {.tv_sec = wait / SECOND, .tv_nsec = wait % SECOND};
        struct epoll_event events[256];
        int n = epoll_pwait2(epoll_fd, events, 256, &ts, NULL);
        if (n < 0 && errno != EINTR) die("epoll_wait");
        for (int i = 0; i < n; i++)
            advance(events[i].data.ptr);
        for (int i = 0; i < opt.conns && run.errors && !opt.rate; i++)
            if (conns[i].state == IDLE) advance(&conns[i]);
    }
    report(began, cpu);
}

/* --hold: everybody asks, then takes a little now and then, until standard input ends. Says "held" when all have their
 * head. */
static void hold(struct conn *conns) {
    int answered = 0;
    /* In batches: a listener's queue is only so long. */
    for (int done = 0; done < opt.conns; done += 200) {
        for (int i = done; i < opt.conns && i < done + 200; i++)
            begin(&conns[i], now());
        for (int i = done; i < opt.conns && i < done + 200; i++) {
            struct conn *c = &conns[i];
            while (c->fd >= 0 && c->state != BODY && c->state != IDLE) {
                advance(c);
                if (c->state == BODY || c->state == IDLE || c->fd < 0) break;
                struct pollfd p = {.fd = c->fd,
                                   .events = c->state == CONNECTING || c->state == SENDING ? POLLOUT : POLLIN};
                if (poll(&p, 1, 30000) == 0) break;
            }
            answered += c->fd >= 0 && (c->state == BODY || c->state == IDLE);
        }
    }
    printf("{\"held\": %d, \"errors\": %lld}\n", answered, (long long)run.errors);
    fflush(stdout);
    struct pollfd in = {.fd = 0, .events = POLLIN};
    while (poll(&in, 1, 500) == 0)
        for (int i = 0; i < opt.conns; i++)
            if (conns[i].fd >= 0 && conns[i].state == BODY && conns[i].left > (1 << 20)) {
                ssize_t n = receive(&conns[i], NULL, 8192, true);
                if (n > 0) conns[i].left -= n;
            }
}

/* --- the trivial responder: no parsing, no logs, no timers --- */

struct answer {
    int fd;
    off_t at, end; /* of the file being sent */
};

static void serve_one(struct answer *a, int file, off_t size, bool readable) {
    char buf[4096];
    static const char small[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 500\r\n\r\n";
    if (readable && a->at == a->end) {
        ssize_t n = recv(a->fd, buf, sizeof(buf), 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            close(a->fd);
            free(a);
            return;
        }
        if (n < 0) return;
        if (strncmp(buf, "GET /big", 8) != 0) {
            size_t head = sizeof(small) - 1;
            memcpy(buf, small, head);
            memset(buf + head, 'x', 500);
            if (send(a->fd, buf, head + 500, MSG_NOSIGNAL) < 0) return;
            return;
        }
        int len = snprintf(buf, sizeof(buf), "HTTP/1.1 200 OK\r\nContent-Length: %lld\r\n\r\n", (long long)size);
        if (send(a->fd, buf, (size_t)len, MSG_NOSIGNAL | MSG_MORE) < 0) return;
        a->at = 0;
        a->end = size;
    }
    while (a->at < a->end && sendfile(a->fd, file, &a->at, (size_t)(a->end - a->at)) > 0) {}
}

_Noreturn static void serve(int port, const char *name) {
    struct sockaddr_in at = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int file = open(name, O_RDONLY | O_CLOEXEC), listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    struct stat st;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (file < 0 || fstat(file, &st) < 0 || bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 ||
        listen(listener, 1024) < 0)
        die("serve");
    int ep = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
    for (;;) {
        struct epoll_event events[256];
        int n = epoll_wait(ep, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct answer *a = events[i].data.ptr;
            if (a) {
                serve_one(a, file, st.st_size, events[i].events & EPOLLIN);
                continue;
            }
            a = calloc(1, sizeof(*a));
            a->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
            e = (struct epoll_event){.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = a};
            epoll_ctl(ep, EPOLL_CTL_ADD, a->fd, &e);
        }
    }
}

/* --- what one processor can do at all --- */

static char *limits_buffer;
#define LIMITS_BYTES ((size_t)64 << 20)

static void hash_all(void) {
    unsigned char out[EVP_MAX_MD_SIZE];
    unsigned len;
    if (!EVP_Digest(limits_buffer, LIMITS_BYTES, out, &len, EVP_sha256(), NULL)) die("sha256");
}

static void encrypt_all(void) {
    static const unsigned char key[32], iv[12];
    static unsigned char out[16384 + 16];
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n;
    if (!ctx || !EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, iv)) die("aes");
    for (size_t at = 0; at < LIMITS_BYTES; at += 16384)
        EVP_EncryptUpdate(ctx, out, &n, (unsigned char *)limits_buffer + at, 16384);
    EVP_CIPHER_CTX_free(ctx);
}

static void copy_half(void) {
    memcpy(limits_buffer, limits_buffer + LIMITS_BYTES / 2, LIMITS_BYTES / 2);
}

/* GB/s, the best of several. */
static double speed_of(void (*work)(void), size_t bytes) {
    double best = 0;
    for (int i = 0; i < 6; i++) {
        int64_t began = now();
        work();
        double speed = (double)bytes / (double)(now() - began);
        if (speed > best) best = speed;
    }
    return best;
}

static int limits(void) {
    limits_buffer = malloc(LIMITS_BYTES);
    if (!limits_buffer) die("memory");
    memset(limits_buffer, 1, LIMITS_BYTES);
    printf("{\"sha256\": %.2f, \"aes_256_gcm\": %.2f, \"copy\": %.2f}\n", speed_of(hash_all, LIMITS_BYTES),
           speed_of(encrypt_all, LIMITS_BYTES), speed_of(copy_half, LIMITS_BYTES / 2));
    return 0;
}

/* Seconds of processor time for a GB, once. */
static int sha256(void) {
    limits_buffer = malloc(LIMITS_BYTES);
    if (!limits_buffer) die("memory");
    memset(limits_buffer, 1, LIMITS_BYTES);
    struct timespec began, ended;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &began);
    hash_all();
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
    int64_t took = (ended.tv_sec - began.tv_sec) * SECOND + ended.tv_nsec - began.tv_nsec;
    printf("%.4f\n", (double)took / (double)LIMITS_BYTES);
    return 0;
}

/* Virtual machines give free memory back to their host and pay for every page they take anew: what is freed here a
 * moment before a measurement is still there. */
static int touch(size_t mib) {
    size_t len = mib << 20;
    char *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) die("memory");
    madvise(p, len, MADV_HUGEPAGE);
    for (size_t at = 0; at < len; at += 4096)
        p[at] = 1;
    return 0;
}

static int usage(void) {
    fprintf(stderr, "load [-c connections] [-n requests] [-d seconds] [-m method] [-r requests/s] [-h address] [-x: a "
                    "connection each]\n"
                    "     [-s: TLS] [-w: hold the answers] PORT PATH\n"
                    "load serve PORT FILE\n"
                    "load limits\n"
                    "load sha256\n"
                    "load touch MIB\n");
    return 2;
}

static void on_interrupt(int number) {
    (void)number;
    interrupted = 1;
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    struct sigaction stop = {.sa_handler = on_interrupt}; /* no SA_RESTART: the wait ends */
    sigaction(SIGINT, &stop, NULL);
    if (argc == 2 && !strcmp(argv[1], "limits")) return limits();
    if (argc == 2 && !strcmp(argv[1], "sha256")) return sha256();
    if (argc == 3 && !strcmp(argv[1], "touch")) return touch((size_t)atoi(argv[2]));
    if (argc == 4 && !strcmp(argv[1], "serve")) serve(atoi(argv[2]), argv[3]);
    for (int o; (o = getopt(argc, argv, "c:n:d:m:r:h:xsw")) != -1;) {
        if (o == 'c')
            opt.conns = atoi(optarg);
        else if (o == 'n')
            opt.requests = atoll(optarg);
        else if (o == 'd')
            opt.seconds = atof(optarg);
        else if (o == 'm')
            opt.method = optarg;
        else if (o == 'r')
            opt.rate = atoll(optarg);
        else if (o == 'h')
            opt.host = optarg;
        else if (o == 'x')
            opt.close_each = true;
        else if (o == 's')
            opt.tls = true;
        else if (o == 'w')
            opt.hold = true;
        else
            return usage();
    }
    if (argc - optind != 2 || opt.conns < 1) return usage();
    opt.port = atoi(argv[optind]);
    opt.path = argv[optind + 1];
    request_len =
        (size_t)snprintf(request, sizeof(request),
                         "%s %s HTTP/1.1\r\nHost: %s:%d\r\nUser-Agent: load\r\nAccept: "
                         "application/vnd.oci.image.manifest.v1+json, */*\r\n%s\r\n",
                         opt.method, opt.path, opt.host, opt.port, opt.close_each ? "Connection: close\r\n" : "");
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (opt.tls) {
        tls = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_min_proto_version(tls, TLS1_3_VERSION);
        SSL_CTX_set_read_ahead(tls, 1);
        SSL_CTX_set_default_read_buffer_len(tls, sizeof(scratch));
        SSL_CTX_set_ciphersuites(tls, "TLS_AES_256_GCM_SHA384");
    }
    struct conn *conns = calloc((size_t)opt.conns, sizeof(*conns));
    for (int i = 0; i < opt.conns; i++)
        conns[i].fd = -1;
    opt.hold ? hold(conns) : loop(conns);
    return 0;
}
