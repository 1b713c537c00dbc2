/* Asks a DNS server again and again, which dnsperf can do with one constant option only:
 *
 *   dns_load [-n] [-h ADDRESS] [-r RATE | -p RATE | -f RATE] PORT NAME SECONDS OUTSTANDING
 *
 * Each query has another client subnet, one of the 131,072 of 10.0.0.0/7; with -n it is for another name below NAME,
 * which need not exist. So many queries are kept under way. With -r so many a second are sent instead, whether answers
 * come or not, and the times until they come are told. -p is the same for few a second: it sleeps between them, so that
 * it takes little of a processor, and the kernel says when an answer came, so that the time in which it was not yet
 * awake does not count. -f floods: nobody reads the answers, and queries come from FLOODING networks of 10.0.0.0/8,
 * which need not be this machine's.
 * Prints {"answered", "lost", "wrong", "seconds"}, with -r and -p also {"p50_us", "p99_us"}; with -f {"sent", "seconds"}. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, QUERY_MAX = 400, SOCKETS = 16, IDS = 65536, LABEL = 12, TIMES_US = 100000, LAST_MS = 200 };
enum { FLOODING = 768, FLOOD_BATCH = 8 };

static bool random_names;
static size_t subnet_at; /* where its three bytes stand */
static long long answered, lost, wrong;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t random_next(void) {
    static uint64_t x = 88172645463325252ULL;
    x ^= x << 13;
    x ^= x >> 7;
    return x ^= x << 17;
}

/* --- queries --- */

static size_t put16(uint8_t *p, unsigned v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
    return 2;
}

static size_t put_name(uint8_t *q, const char *name) {
    size_t n = 0;
    if (random_names) {
        q[n] = LABEL;
        n += 1 + LABEL;
    }
    while (*name) {
        size_t len = strcspn(name, ".");
        q[n++] = (uint8_t)len;
        memcpy(q + n, name, len);
        n += len;
        name += len + (name[len] == '.');
    }
    q[n++] = 0;
    return n;
}

/* With an OPT record that has a client subnet of 24 bits. */
static size_t query_make(uint8_t *q, const char *name) {
    static const uint8_t opt[] = {0, 0, 41, 1232 >> 8, 1232 & 255, 0, 0, 0, 0, 0, 11, 0, 8, 0, 7, 0, 1, 24, 0};
    size_t n = 12;
    memset(q, 0, 12);
    q[5] = 1;
    q[11] = 1;
    n += put_name(q + n, name);
    n += put16(q + n, 1);
    n += put16(q + n, 1);
    memcpy(q + n, opt, sizeof(opt));
    subnet_at = n + sizeof(opt);
    return subnet_at + 3;
}

static void query_vary(uint8_t *q) {
    uint64_t r = random_next();
    put16(q, (unsigned)r & 0xffff);
    q[subnet_at] = (uint8_t)(10 + (r >> 32) % 2);
    put16(q + subnet_at + 1, (unsigned)(r >> 16) & 0xffff);
    for (int i = 0; random_names && i < LABEL; i++)
        q[13 + i] = (uint8_t)('a' + (r >> (4 * i)) % 16);
}

static uint8_t out[BATCH][QUERY_MAX], in[BATCH][2048];
static struct mmsghdr outgoing[BATCH], incoming[BATCH];
static struct iovec out_at[BATCH], in_at[BATCH];

static void queries_make(const char *name) {
    for (int i = 0; i < BATCH; i++) {
        size_t len = query_make(out[i], name);
        out_at[i] = (struct iovec){out[i], len};
        in_at[i] = (struct iovec){in[i], sizeof(in[i])};
        outgoing[i].msg_hdr = (struct msghdr){.msg_iov = &out_at[i], .msg_iovlen = 1};
        incoming[i].msg_hdr = (struct msghdr){.msg_iov = &in_at[i], .msg_iovlen = 1};
    }
}

static int ask(int fd, int n) {
    for (int i = 0; i < n; i++)
        query_vary(out[i]);
    int r = sendmmsg(fd, outgoing, (unsigned)n, 0);
    return r < 0 ? 0 : r;
}

/* A name that does not exist is answered so. */
static bool is_right(const uint8_t *answer, size_t len) {
    unsigned code = answer[3] & 15;
    return len >= 12 && (random_names ? code == 3 : code == 0 && answer[7] != 0);
}

static void judge(int n) {
    for (int i = 0; i < n; i++)
        wrong += !is_right(in[i], incoming[i].msg_len);
    answered += n;
}

/* --- so many under way --- */

static void ask_all(const int fds[SOCKETS], double end, int outstanding) {
    int each = outstanding / SOCKETS, under_way[SOCKETS] = {0};
    if (each < 1) each = 1;
    if (each > BATCH) each = BATCH;
    for (int s = 0; s < SOCKETS; s++)
        under_way[s] = ask(fds[s], each);
    while (now() < end) {
        for (int s = 0; s < SOCKETS; s++) {
            int n = recvmmsg(fds[s], incoming, (unsigned)each, MSG_WAITFORONE, NULL);
            if (n < 0 && errno == EAGAIN) { /* what is under way is lost */
                lost += under_way[s];
                under_way[s] = 0;
            }
            if (n > 0) {
                judge(n);
                under_way[s] -= n;
            }
            under_way[s] += ask(fds[s], each - under_way[s]);
        }
    }
}

/* --- so many a second --- */

static float sent_at[SOCKETS][IDS]; /* seconds since the beginning; 0: nothing is under way by that number */
static long long times[TIMES_US];   /* how many answers took so many microseconds */

static void take_answers(int s, int fd, double began) {
    int n = recvmmsg(fd, incoming, BATCH, MSG_DONTWAIT, NULL);
    double t = now() - began;
    if (n > 0) judge(n);
    for (int i = 0; i < n; i++) {
        float *sent = &sent_at[s][in[i][0] << 8 | in[i][1]];
        if (*sent == 0) continue; /* two had one number */
        double us = (t - *sent) * 1e6;
        times[us < 0 ? 0 : us >= TIMES_US ? TIMES_US - 1 : (size_t)us]++;
        *sent = 0;
    }
}

static int send_due(int s, int fd, int n, double began) {
    n = ask(fd, n < BATCH ? n : BATCH);
    float t = (float)(now() - began);
    for (int i = 0; i < n; i++)
        sent_at[s][out[i][0] << 8 | out[i][1]] = t;
    return n;
}

static void ask_at_rate(const int fds[SOCKETS], double seconds, double rate) {
    double began = now() - 1e-3, t;
    long long sent = 0;
    while ((t = now() - began) < seconds + LAST_MS / 1e3) {
        for (int s = 0; s < SOCKETS; s++) {
            t = now() - began;
            int due = t < seconds ? (int)(t * rate - (double)sent) : 0;
            if (due > 0) sent += send_due(s, fds[s], due, began);
            take_answers(s, fds[s], began);
        }
    }
    lost = sent - answered;
}

/* --- a few a second --- */

static int64_t wall_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int64_t asked_ns[SOCKETS][IDS]; /* 0: nothing is under way by that number */

/* The kernel's word on when the message came. */
static int64_t came_ns(struct msghdr *m) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        struct timespec t;
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPNS) continue;
        memcpy(&t, CMSG_DATA(c), sizeof(t));
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    return wall_ns();
}

static void take_stamped(int s, int fd) {
    static _Alignas(struct cmsghdr) uint8_t control[64];
    for (;;) {
        struct msghdr *m = &incoming[0].msg_hdr;
        m->msg_control = control;
        m->msg_controllen = sizeof(control);
        ssize_t len = recvmsg(fd, m, MSG_DONTWAIT);
        if (len < 0) return;
        incoming[0].msg_len = (unsigned)len;
        judge(1);
        int64_t *asked = &asked_ns[s][in[0][0] << 8 | in[0][1]], us = (came_ns(m) - *asked) / 1000;
        if (*asked == 0) continue; /* two had one number */
        times[us < 0 ? 0 : us >= TIMES_US ? TIMES_US - 1 : us]++;
        *asked = 0;
    }
}

static void sleep_until(int64_t mono_ns) {
    const struct timespec t = {mono_ns / 1000000000, mono_ns % 1000000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
        continue;
}

static void ask_paced(const int fds[SOCKETS], double seconds, double rate) {
    static const int on = 1;
    long long count = (long long)(seconds * rate);
    int64_t began = (int64_t)(now() * 1e9);
    prctl(PR_SET_TIMERSLACK, 1);
    for (int s = 0; s < SOCKETS; s++)
        setsockopt(fds[s], SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
    for (long long i = 0; i < count; i++) {
        int s = (int)(i % SOCKETS);
        sleep_until(began + (int64_t)((double)i * 1e9 / rate));
        take_stamped(s, fds[s]);
        query_vary(out[0]);
        asked_ns[s][out[0][0] << 8 | out[0][1]] = wall_ns();
        if (sendto(fds[s], out[0], out_at[0].iov_len, 0, NULL, 0) < 0) lost++;
    }
    sleep_until((int64_t)((now() + LAST_MS / 1e3) * 1e9));
    for (int s = 0; s < SOCKETS; s++)
        take_stamped(s, fds[s]);
    lost = count - answered;
}

/* --- a flood --- */

static int flooding_socket(int i, const struct sockaddr_in *to) {
    static const int least = 1, on = 1;
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000001u + ((uint32_t)i << 8))};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least)) < 0 ||
        setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &on, sizeof(on)) < 0 ||
        bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
        connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
        exit(1);
    return fd;
}

static void flood(const struct sockaddr_in *to, double seconds, double rate) {
    static int from[FLOODING];
    for (int i = 0; i < FLOODING; i++)
        from[i] = flooding_socket(i, to);
    double began = now(), t;
    long long sent = 0;
    for (int i = 0; (t = now() - began) < seconds; i = (i + 1) % FLOODING) {
        while ((now() - began) * rate < (double)(sent + FLOOD_BATCH))
            continue;
        sent += ask(from[i], FLOOD_BATCH);
    }
    printf("{\"sent\": %lld, \"seconds\": %.3f}\n", sent, t);
}

/* --- what was found --- */

/* Of all that were sent: one that is lost took longer than any. */
static size_t percentile_us(double share) {
    long long sum = 0;
    size_t us = 0;
    while (us < TIMES_US && (double)(sum += times[us]) < share * (double)(answered + lost))
        us++;
    return us;
}

static void report(double seconds, bool timed) {
    printf("{\"answered\": %lld, \"lost\": %lld, \"wrong\": %lld, \"seconds\": %.3f", answered, lost, wrong, seconds);
    if (timed) printf(", \"p50_us\": %zu, \"p99_us\": %zu", percentile_us(0.5), percentile_us(0.99));
    printf("}\n");
}

int main(int argc, char **argv) {
    double rate = 0;
    int option, mode = 0, fds[SOCKETS];
    const char *host = "127.0.0.1";
    while ((option = getopt(argc, argv, "nh:r:p:f:")) != -1) {
        if (option == '?') return 2;
        if (option == 'n') {
            random_names = true;
        } else if (option == 'h') {
            host = optarg;
        } else {
            mode = option;
            rate = atof(optarg);
        }
    }
    if (argc - optind != 4) return 2;
    argv += optind;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[0]))};
    if (inet_pton(AF_INET, host, &to.sin_addr) != 1) return 2;
    double seconds = atof(argv[2]), began = now();
    queries_make(argv[1]);
    if (mode == 'f') {
        flood(&to, seconds, rate);
        return 0;
    }
    struct timeval wait = {.tv_usec = 200000};
    for (int s = 0; s < SOCKETS; s++) {
        fds[s] = socket(AF_INET, SOCK_DGRAM, 0);
        if (fds[s] < 0 || connect(fds[s], (struct sockaddr *)&to, sizeof(to)) < 0) return 1;
        setsockopt(fds[s], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    }
    if (mode == 'r')
        ask_at_rate(fds, seconds, rate);
    else if (mode == 'p')
        ask_paced(fds, seconds, rate);
    else
        ask_all(fds, began + seconds, atoi(argv[3]));
    report(now() - began, mode != 0);
    return 0;
}
