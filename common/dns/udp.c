/* Receives, answers and sends in batches. Thread: as udp.h says. */
#include "common/dns/udp.h"

#include "common/dns/flood.h"
#include "common/core/alloc.h"
#include "common/core/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    BATCH = 32,
    QUERY_MAX = 2048, /* a longer message is no query that anyone sends */
    CONTROL_BYTES = 64,
};

struct dns_udp {
    int fd;
    bool wildcard, started;
    unsigned number;
    atomic_bool stop;
    pthread_t thread;
    struct dns_views *views;
    struct dns_context context;
    struct dns_tally tally;
    struct dns_flood flood;
    struct mmsghdr in[BATCH], out[BATCH];
    struct iovec in_at[BATCH], out_at[BATCH];
    union dns_address_any from[BATCH];
    _Alignas(struct cmsghdr) uint8_t control[BATCH][CONTROL_BYTES];
    uint8_t queries[BATCH][QUERY_MAX], answers[BATCH][DNS_UDP_MAX];
};

struct dns_udp *dns_udp_new(int fd, bool wildcard, unsigned number, unsigned rate_per_s, struct dns_views *views) {
    struct dns_udp *u = xcalloc(1, sizeof(*u));
    u->fd = fd;
    u->wildcard = wildcard;
    u->number = number;
    u->views = views;
    u->context = (struct dns_context){.rate = dns_rate_new(rate_per_s), .tally = &u->tally};
    for (size_t i = 0; i < BATCH; i++) {
        u->in_at[i] = (struct iovec){u->queries[i], QUERY_MAX};
        u->in[i].msg_hdr = (struct msghdr){.msg_name = &u->from[i], .msg_iov = &u->in_at[i], .msg_iovlen = 1};
    }
    return u;
}

const struct dns_tally *dns_udp_tally(const struct dns_udp *u) {
    return &u->tally;
}

/* Leaves of what the kernel told of a message only the address that was asked, from which the answer must come; the way
 * out is the kernel's choice again. */
static void control_for_answer(struct msghdr *m) {
    struct cmsghdr *c = CMSG_FIRSTHDR(m);
    if (!c || (m->msg_flags & MSG_CTRUNC)) {
        m->msg_controllen = 0;
        return;
    }
    if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
        struct in6_pktinfo *six = (struct in6_pktinfo *)(void *)CMSG_DATA(c);
        if (!IN6_IS_ADDR_LINKLOCAL(&six->ipi6_addr)) six->ipi6_ifindex = 0;
    } else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
        struct in_pktinfo *four = (struct in_pktinfo *)(void *)CMSG_DATA(c);
        four->ipi_spec_dst = four->ipi_addr;
        four->ipi_ifindex = 0;
    } else {
        m->msg_controllen = 0;
    }
}

/* Answers message i; true if there is an answer, which becomes the n-th. */
static bool answer_one(struct dns_udp *u, const struct dns_view *v, size_t i, size_t n) {
    struct msghdr *m = &u->in[i].msg_hdr;
    struct ip ip;
    if ((m->msg_flags & MSG_TRUNC) || u->from[i].four.sin_port == 0) {
        dns_tally_add(&u->tally.counts[DNS_COUNT_IGNORED]);
        return false;
    }
    dns_address_ip(&u->from[i], &ip);
    size_t len = dns_answer(&u->context, v, &ip, false, u->queries[i], u->in[i].msg_len, u->answers[n], DNS_UDP_MAX);
    if (len == 0) return false;
    u->out_at[n] = (struct iovec){u->answers[n], len};
    u->out[n].msg_hdr = (struct msghdr){
        .msg_name = m->msg_name, .msg_namelen = m->msg_namelen, .msg_iov = &u->out_at[n], .msg_iovlen = 1};
    if (!u->wildcard) return true;
    control_for_answer(m);
    if (m->msg_controllen) {
        u->out[n].msg_hdr.msg_control = m->msg_control;
        u->out[n].msg_hdr.msg_controllen = m->msg_controllen;
    }
    return true;
}

/* An answer that the kernel does not take is lost, as any packet may be; those behind it are sent. */
static void send_all(struct dns_udp *u, size_t n) {
    for (size_t sent = 0; sent < n;) {
        int r = sendmmsg(u->fd, u->out + sent, (unsigned)(n - sent), 0);
        if (r < 0 && errno == EINTR) continue;
        sent += r > 0 ? (size_t)r : 1;
    }
}

/* The time, exact to some milliseconds, which is enough for rates and cookies. Exact clocks would cost a twentieth of an
 * answer where messages come one by one. */
static void clocks_read(struct dns_context *c) {
    struct timespec mono, wall;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &mono);
    clock_gettime(CLOCK_REALTIME_COARSE, &wall);
    c->now_ms = (int64_t)mono.tv_sec * 1000 + mono.tv_nsec / 1000000;
    c->now_s = (uint32_t)wall.tv_sec;
}

/* Few queries are answered before all else, so that they do not wait for a storm of pulls; a flood of them gives way to
 * pulls. */
static void heed_flood(struct dns_udp *u, size_t n) {
    if (dns_flood_take(&u->flood, u->context.now_ms, n)) thread_set_urgent(!u->flood.under_way);
}

static void answer_all(struct dns_udp *u, size_t n) {
    size_t answers = 0;
    clocks_read(&u->context);
    heed_flood(u, n);
    const struct dns_view *v = dns_views_enter(u->views, u->number);
    for (size_t i = 0; i < n; i++)
        answers += answer_one(u, v, i, answers);
    dns_views_leave(u->views, u->number);
    send_all(u, answers);
}

/* The kernel has written over the lengths of those that were used. */
static void in_prepare(struct dns_udp *u, size_t used) {
    for (size_t i = 0; i < used; i++) {
        u->in[i].msg_hdr.msg_namelen = sizeof(u->from[i]);
        if (!u->wildcard) continue;
        u->in[i].msg_hdr.msg_control = u->control[i];
        u->in[i].msg_hdr.msg_controllen = CONTROL_BYTES;
    }
}

static void *serve_queries(void *arg) {
    struct dns_udp *u = arg;
    char name[16];
    snprintf(name, sizeof(name), "dns-%u", u->number);
    pthread_setname_np(pthread_self(), name);
    thread_set_urgent(true);
    for (size_t used = BATCH; !atomic_load_explicit(&u->stop, memory_order_relaxed);) {
        in_prepare(u, used);
        int n = recvmmsg(u->fd, u->in, BATCH, MSG_WAITFORONE, NULL);
        used = n > 0 ? (size_t)n : 0;
        if (n > 0) answer_all(u, used);
    }
    return NULL;
}

void dns_udp_start(struct dns_udp *u) {
    if (pthread_create(&u->thread, NULL, serve_queries, u) != 0) abort();
    u->started = true;
}

/* Linux wakes whoever waits for a message, and returns at once from then on, although a socket without a peer is told
 * ENOTCONN. A time limit for the wait would cost a timer for each. */
void dns_udp_stop(struct dns_udp *u) {
    atomic_store(&u->stop, true);
    if (shutdown(u->fd, SHUT_RD) < 0) errno = 0;
}

void dns_udp_free(struct dns_udp *u) {
    if (!u) return;
    dns_udp_stop(u);
    if (u->started) pthread_join(u->thread, NULL);
    close(u->fd);
    dns_rate_free(u->context.rate);
    free(u);
}
