/* Hazard pointers (Michael, 2004), one for each reader. Thread: as views.h says. */
#include "common/dns/views.h"

#include "common/core/alloc.h"

struct old_view {
    struct dns_view *view;
    struct old_view *next;
};
struct seat {
    _Atomic(struct dns_view *) uses;
    char pad[64 - sizeof(void *)]; /* a cache line each */
};
struct dns_views {
    _Atomic(struct dns_view *) now;
    struct seat *seats;
    unsigned n_seats;
    struct old_view *old; /* publisher */
};

struct dns_views *dns_views_new(unsigned seats) {
    struct dns_views *vs = xcalloc(1, sizeof(*vs));
    vs->seats = xcalloc(seats, sizeof(*vs->seats));
    vs->n_seats = seats;
    return vs;
}

static bool zone_is_used(const struct dns_views *vs, const struct dns_zone *z) {
    const struct dns_view *now = atomic_load(&vs->now);
    if (now && now->zone == z) return true;
    for (const struct old_view *o = vs->old; o; o = o->next)
        if (o->view->zone == z) return true;
    return false;
}

/* old is no longer in the list. */
static void old_free(const struct dns_views *vs, struct old_view *old) {
    const struct dns_zone *z = old->view->zone;
    dns_view_free(old->view);
    free(old);
    if (!zone_is_used(vs, z)) dns_zone_free((struct dns_zone *)(uintptr_t)z);
}

static bool is_used(const struct dns_views *vs, const struct dns_view *v) {
    for (unsigned i = 0; i < vs->n_seats; i++)
        if (atomic_load(&vs->seats[i].uses) == v) return true;
    return false;
}

void dns_views_tidy(struct dns_views *vs) {
    for (struct old_view **at = &vs->old; *at;) {
        struct old_view *o = *at;
        if (is_used(vs, o->view)) {
            at = &o->next;
            continue;
        }
        *at = o->next;
        old_free(vs, o);
    }
}

void dns_views_publish(struct dns_views *vs, struct dns_view *v) {
    struct dns_view *before = atomic_exchange(&vs->now, v);
    if (before) {
        struct old_view *o = xcalloc(1, sizeof(*o));
        *o = (struct old_view){before, vs->old};
        vs->old = o;
    }
    dns_views_tidy(vs);
}

const struct dns_zone *dns_views_zone(const struct dns_views *vs) {
    const struct dns_view *v = atomic_load(&vs->now);
    return v ? v->zone : NULL;
}

void dns_views_free(struct dns_views *vs) {
    if (!vs) return;
    dns_views_publish(vs, NULL);
    free(vs->seats);
    free(vs);
}

const struct dns_view *dns_views_enter(struct dns_views *vs, unsigned seat) {
    struct dns_view *v = atomic_load(&vs->now), *again;
    /* It is valid only if it was still published after the publisher could see that it is used. */
    for (;; v = again) {
        atomic_store(&vs->seats[seat].uses, v);
        again = atomic_load(&vs->now);
        if (again == v) return v;
    }
}

void dns_views_leave(struct dns_views *vs, unsigned seat) {
    atomic_store_explicit(&vs->seats[seat].uses, NULL, memory_order_release);
}
