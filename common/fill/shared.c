/* What readers see of a fill. Thread: the fill's fetch loop writes, any reads. */
#include "common/fill/shared.h"

#include "common/core/alloc.h"

#include <stdio.h>
#include <stdlib.h>

void shared_init(struct shared *s) {
    atomic_init(&s->size, -1);
    atomic_init(&s->settled_size, -1);
    atomic_init(&s->rewind_floor, INT64_MAX);
    atomic_init(&s->source, NULL);
}

void shared_fini(struct shared *s) {
    free(atomic_load_explicit(&s->trouble, memory_order_relaxed));
}

enum fill_state shared_state(const struct shared *s) {
    return (enum fill_state)atomic_load_explicit(&s->state, memory_order_acquire);
}

int64_t shared_size(const struct shared *s) {
    return atomic_load_explicit(&s->size, memory_order_acquire);
}

int64_t shared_settled_size(const struct shared *s) {
    return atomic_load_explicit(&s->settled_size, memory_order_acquire);
}

int64_t shared_visible(const struct shared *s) {
    return atomic_load_explicit(&s->visible, memory_order_acquire);
}

int64_t shared_proven(const struct shared *s) {
    return atomic_load_explicit(&s->proven, memory_order_acquire);
}

const char *shared_source_name(const struct shared *s) {
    const struct source *source = atomic_load_explicit(&s->source, memory_order_acquire);
    return source ? source->name : "";
}

bool shared_source_stands_in(const struct shared *s) {
    const struct source *source = atomic_load_explicit(&s->source, memory_order_acquire);
    return source && source->stands_in;
}

unsigned shared_rewinds(const struct shared *s) {
    return atomic_load_explicit(&s->rewinds, memory_order_acquire);
}

int64_t shared_rewind_floor(const struct shared *s) {
    return atomic_load_explicit(&s->rewind_floor, memory_order_relaxed);
}

const struct fetch_end *shared_trouble(const struct shared *s) {
    return atomic_load_explicit(&s->trouble, memory_order_acquire);
}

const char *shared_media_type(const struct shared *s) {
    return s->media_type;
}

bool shared_is_manifest(const struct shared *s) {
    return s->is_manifest;
}

const struct fetch_end *shared_end(const struct shared *s) {
    return &s->end;
}

bool shared_size_is_claimed(const struct shared *s) {
    return s->size_word < SIZE_SENT && shared_size(s) >= 0;
}

enum size_word shared_size_word(const struct shared *s) {
    return s->size_word;
}

void shared_set_size(struct shared *s, int64_t size, enum size_word word) {
    s->size_word = word;
    atomic_store_explicit(&s->size, size, memory_order_release);
    atomic_store_explicit(&s->settled_size, word == SIZE_CLAIMED ? -1 : size, memory_order_release);
}

void shared_flows(struct shared *s, const struct source *source) {
    atomic_store_explicit(&s->source, source, memory_order_release);
    atomic_store_explicit(&s->state, FILL_FLOWING, memory_order_release);
}

void shared_waits(struct shared *s) {
    if (shared_state(s) == FILL_FLOWING) atomic_store_explicit(&s->state, FILL_STARTING, memory_order_release);
}

void shared_show(struct shared *s, int64_t visible) {
    atomic_store_explicit(&s->visible, visible, memory_order_release);
}

/* A reader that is just taking bytes that were visible sees by `rewinds` that it must not use them. */
void shared_hide(struct shared *s, int64_t to) {
    atomic_fetch_add_explicit(&s->rewinds, 1, memory_order_release);
    atomic_store_explicit(&s->visible, to, memory_order_release);
}

void shared_take_back(struct shared *s, int64_t to) {
    if (to < shared_rewind_floor(s)) atomic_store_explicit(&s->rewind_floor, to, memory_order_relaxed);
    shared_hide(s, to);
    if (shared_proven(s) > to) atomic_store_explicit(&s->proven, to, memory_order_release);
}

void shared_prove(struct shared *s, int64_t end) {
    if (shared_proven(s) < end) atomic_store_explicit(&s->proven, end, memory_order_release);
}

void shared_set_media_type(struct shared *s, const char *media_type) {
    snprintf(s->media_type, sizeof(s->media_type), "%s", media_type);
}

void shared_set_manifest(struct shared *s, bool is_manifest) {
    s->is_manifest = is_manifest;
}

void shared_set_trouble(struct shared *s, const struct fetch_end *end) {
    if (shared_trouble(s)) return;
    struct fetch_end *first = xmalloc(sizeof(*first));
    *first = *end;
    atomic_store_explicit(&s->trouble, first, memory_order_release);
}

void shared_proved(struct shared *s, int64_t size) {
    shared_set_size(s, size, SIZE_KNOWN);
    atomic_store_explicit(&s->proven, size, memory_order_relaxed);
    atomic_store_explicit(&s->visible, size, memory_order_release);
    atomic_store_explicit(&s->state, FILL_PROVED, memory_order_release);
}

void shared_failed(struct shared *s, const struct fetch_end *end) {
    s->end = *end;
    atomic_store_explicit(&s->state, FILL_FAILED, memory_order_release);
}
