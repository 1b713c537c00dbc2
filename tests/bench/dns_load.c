/* Asks a DNS server for one name with another client subnet each time, and keeps so many queries under way. dnsperf can
 * send one constant option only. `dns_load PORT NAME SECONDS OUTSTANDING`; prints {"answered", "seconds", "lost"}. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, QUERY_MAX = 400, SOCKETS = 16 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static size_t put16(uint8_t *p, unsigned v) {
    p[0] = (uint8_t)(v >> 8);
    p[1] = (uint8_t)v;
    return 2;
}

static size_t subnet_at; /* where the three bytes of the subnet stand */

static size_t query_make(uint8_t *q, const char *name) {
    size_t n = 12;
    memset(q, 0, 12);
    q[5] = 1;
    q[11] = 1;
    while (*name) {
        size_t len = strcspn(name, ".");
        q[n++] = (uint8_t)len;
        memcpy(q + n, name, len);
        n += len;
        name += len + (name[len] == '.');
    }
    q[n++] = 0;
    n += put16(q + n, 1);
    n += put16(q + n, 1);
    q[n++] = 0;
    n += put16(q + n, 41);
    n += put16(q + n, 1232);
    n += put16(q + n, 0);
    n += put16(q + n, 0);
    n += put16(q + n, 11);
    n += put16(q + n, 8);
    n += put16(q + n, 7);
    n += put16(q + n, 1);
    q[n++] = 24;
    q[n++] = 0;
    subnet_at = n;
    return n + 3;
}

static uint64_t random_next(void) {
    static uint64_t x = 88172645463325252ULL;
    x ^= x << 13;
    x ^= x >> 7;
    return x ^= x << 17;
}

static void subnet_put(uint8_t *q) {
    uint64_t r = random_next();
    q[0] = (uint8_t)(r >> 8);
    q[1] = (uint8_t)(r >> 16);
    q[subnet_at] = 10;
    q[subnet_at + 1] = (uint8_t)(r >> 24);
    q[subnet_at + 2] = (uint8_t)(r >> 32);
}

static uint8_t out[BATCH][QUERY_MAX], in[BATCH][2048];
static struct mmsghdr outgoing[BATCH], incoming[BATCH];
static struct iovec out_at[BATCH], in_at[BATCH];

static int ask(int fd, int n) {
    for (int i = 0; i < n; i++)
        subnet_put(out[i]);
    int r = sendmmsg(fd, outgoing, (unsigned)n, 0);
    return r < 0 ? 0 : r;
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    double seconds = atof(argv[3]);
    int each = atoi(argv[4]) / SOCKETS, fds[SOCKETS], under_way[SOCKETS] = {0};
    if (each < 1) each = 1;
    if (each > BATCH) each = BATCH;
    for (int i = 0; i < BATCH; i++) {
        size_t len = query_make(out[i], argv[2]);
        out_at[i] = (struct iovec){out[i], len};
        in_at[i] = (struct iovec){in[i], sizeof(in[i])};
        outgoing[i].msg_hdr = (struct msghdr){.msg_iov = &out_at[i], .msg_iovlen = 1};
        incoming[i].msg_hdr = (struct msghdr){.msg_iov = &in_at[i], .msg_iovlen = 1};
    }
    struct timeval wait = {.tv_usec = 200000};
    for (int s = 0; s < SOCKETS; s++) {
        fds[s] = socket(AF_INET, SOCK_DGRAM, 0);
        if (fds[s] < 0 || connect(fds[s], (struct sockaddr *)&to, sizeof(to)) < 0) return 1;
        setsockopt(fds[s], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    }
    long long answered = 0, lost = 0, wrong = 0;
    double began = now(), end = began + seconds;
    for (int s = 0; s < SOCKETS; s++)
        under_way[s] = ask(fds[s], each);
    while (now() < end) {
        for (int s = 0; s < SOCKETS; s++) {
            int n = recvmmsg(fds[s], incoming, (unsigned)each, MSG_WAITFORONE, NULL);
            if (n < 0 && errno == EAGAIN) { /* what is under way is lost */
                lost += under_way[s];
                under_way[s] = 0;
            }
            for (int i = 0; i < n; i++)
                wrong += incoming[i].msg_len < 12 || (in[i][3] & 15) != 0 || in[i][7] == 0;
            if (n > 0) {
                answered += n;
                under_way[s] -= n;
            }
            under_way[s] += ask(fds[s], each - under_way[s]);
        }
    }
    printf("{\"answered\": %lld, \"lost\": %lld, \"wrong\": %lld, \"seconds\": %.3f}\n", answered, lost, wrong,
           now() - began);
    return 0;
}
