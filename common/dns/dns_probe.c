/* A probe is one connection: GET /v2/, and the first bytes of the answer. At most UNDER_WAY are open at a time.
 *
 *   WAITING ─▶ CONNECTING ─▶ ASKED ─▶ WAITING
 *
 * Thread: the loop's. */
#include "common/dns/dns_probe.h"

#include "common/core/alloc.h"
#include "common/core/clock.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

enum { EVERY_MS = 1000, WITHIN_MS = 900, FIRST_WITHIN_MS = 200, UNDER_WAY = 256, TURN_MS = 20 };

struct probe {
    struct dns_probes *all;
    size_t edge;
    char name[160];              /* for the header Host */
    struct sockaddr_in6 address; /* mapped, if it is IPv4 */
    struct timer timer;
    struct event *event;
    int fd; /* -1: WAITING */
    bool asked;
    bool left; /* it is not asked any more */
};

struct dns_probes {
    struct loop *loop;
    struct probe *list;
    size_t n, under_way;
    void (*report)(size_t edge, const struct dns_report *r, void *arg);
    void *arg;
};

/* Ends the probe under way, if there is one. */
static void end(struct probe *p) {
    if (p->fd < 0) return;
    event_free(p->event);
    close(p->fd);
    p->event = NULL;
    p->fd = -1;
    p->all->under_way--;
}

static void report(const struct probe *p, bool open) {
    const struct dns_report r = {.heard_ms = clock_mono_ms(), .port_open = open};
    p->all->report(p->edge, &r, p->all->arg);
}

/* The next is a second after the last began. */
static void done(struct probe *p, bool heard, bool open) {
    end(p);
    timer_set(&p->timer, EVERY_MS);
    if (heard) report(p, open);
}

/* An error that the edge's own machine answered with. */
static bool is_closed(int error) {
    return error == ECONNREFUSED || error == ECONNRESET;
}

static void on_event(evutil_socket_t fd, short what, void *arg);

static void wait_for(struct probe *p, short what) {
    if (p->event) event_free(p->event);
    p->event = event_new(loop_base(p->all->loop), p->fd, what, on_event, p);
    if (!p->event) out_of_memory();
    static const struct timeval within = {.tv_usec = WITHIN_MS * 1000};
    event_add(p->event, &within);
}

static void ask(struct probe *p) {
    char text[320];
    int error = 0;
    socklen_t size = sizeof(error);
    if (getsockopt(p->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0) error = errno;
    int len =
        snprintf(text, sizeof(text),
                 "GET /v2/ HTTP/1.1\r\nHost: %s\r\nUser-Agent: entrepot-dns\r\nConnection: close\r\n\r\n", p->name);
    if (error == 0 && send(p->fd, text, (size_t)len, MSG_NOSIGNAL) != len) error = errno;
    if (error) {
        done(p, is_closed(error), false);
        return;
    }
    p->asked = true;
    wait_for(p, EV_READ);
}

/* Any answer but a 5xx counts: a registry may want a token, or TLS. */
static void hear(struct probe *p) {
    char head[16] = "";
    ssize_t n = recv(p->fd, head, sizeof(head) - 1, MSG_DONTWAIT);
    if (n > 0)
        done(p, true, strncmp(head, "HTTP/1.", 7) != 0 || n < 10 || head[9] != '5');
    else
        done(p, n == 0 || is_closed(errno), false);
}

static void on_event(evutil_socket_t fd, short what, void *arg) {
    struct probe *p = arg;
    (void)fd;
    loop_enter(p->all->loop);
    if (what & EV_TIMEOUT)
        done(p, false, false);
    else if (p->asked)
        hear(p);
    else
        ask(p);
}

static void on_timer(void *arg) {
    struct probe *p = arg;
    end(p);
    if (p->all->under_way == UNDER_WAY) {
        timer_set(&p->timer, TURN_MS);
        return;
    }
    p->fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (p->fd < 0) {
        timer_set(&p->timer, EVERY_MS);
        return;
    }
    p->all->under_way++;
    p->asked = false;
    if (connect(p->fd, (struct sockaddr *)&p->address, sizeof(p->address)) < 0 && errno != EINPROGRESS) {
        int error = errno;
        p->event = evtimer_new(loop_base(p->all->loop), on_event, p); /* so that end has one to free */
        done(p, is_closed(error), false);
        return;
    }
    wait_for(p, EV_WRITE);
}

struct dns_probes *dns_probes_new(struct loop *loop, const struct dns_zone *zone, const char *site, unsigned port,
                                  void (*fn)(size_t edge, const struct dns_report *r, void *arg), void *arg) {
    struct dns_probes *all = xcalloc(1, sizeof(*all));
    *all = (struct dns_probes){.loop = loop, .n = zone->n_edges, .report = fn, .arg = arg};
    all->list = xcalloc(all->n + 1, sizeof(*all->list));
    for (size_t i = 0; i < all->n; i++) {
        struct probe *p = &all->list[i];
        const struct dns_target *t = &zone->edges[i];
        p->all = all;
        p->edge = i;
        p->fd = -1;
        /* Central may not be able to reach one that has joined. */
        p->left = site ? strcasecmp(t->site, site) != 0 : t->joined;
        snprintf(p->name, sizeof(p->name), "%.63s.%.63s", t->name, t->site);
        p->address = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
        memcpy(&p->address.sin6_addr, t->ip[zone->has[0] ? 0 : 1].bytes, 16);
        timer_init(&p->timer, loop, on_timer, p);
    }
    return all;
}

void dns_probes_start(struct dns_probes *all) {
    for (size_t i = 0; i < all->n; i++)
        if (!all->list[i].left) timer_set(&all->list[i].timer, (int64_t)(i * FIRST_WITHIN_MS / all->n));
}

void dns_probes_leave(struct dns_probes *all, size_t edge) {
    struct probe *p = &all->list[edge];
    if (p->left) return;
    p->left = true;
    end(p);
    timer_clear(&p->timer);
}

void dns_probes_free(struct dns_probes *all) {
    if (!all) return;
    for (size_t i = 0; i < all->n; i++) {
        end(&all->list[i]);
        timer_fini(&all->list[i].timer);
    }
    free(all->list);
    free(all);
}
