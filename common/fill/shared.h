/* What readers see of a fill: its state, its size, and how far they may read. Only the fill's fetch loop changes it, by
 * the functions marked so. Thread: all other functions any, for a caller that holds a reference to the fill. Only
 * shared.c touches the fields. */
#ifndef ENTREPOT_FILL_SHARED_H
#define ENTREPOT_FILL_SHARED_H

#include <stdatomic.h>

#include "common/fill/fill.h"

/* Whose word the size is. A later one outranks those before it. */
enum size_word {
    SIZE_CLAIMED, /* a manifest's, which anyone can write, or a source's of whose answer nothing is kept */
    SIZE_SENT,    /* the source's that is sending */
    SIZE_KNOWN,   /* the catalogue's, of a digest that was proved once */
};

struct shared {
    _Atomic int state;
    _Atomic int64_t size;                  /* -1 unknown */
    _Atomic int64_t settled_size;          /* as fill_reader_settled_size */
    _Atomic int64_t visible;               /* bytes from the start any reader may have */
    _Atomic int64_t proven;                /* bytes from the start that are proved piece by piece */
    _Atomic(const struct source *) source; /* NULL: none has agreed to send yet */
    atomic_uint rewinds;                   /* times that bytes were hidden again; grows before `visible` falls */
    _Atomic int64_t rewind_floor;          /* the lowest byte ever taken back */
    char media_type[MEDIA_TYPE_MAX + 1];   /* manifests: settled before state becomes FILL_PROVED */
    bool is_manifest;                      /* settled before state becomes FILL_PROVED */
    struct fetch_end end;                  /* set once, before state becomes FILL_FAILED */
    _Atomic(struct fetch_end *) trouble;   /* set once: the first failure of a source */
    enum size_word size_word;              /* fetch loop */
};

void shared_init(struct shared *s);
void shared_fini(struct shared *s);

enum fill_state shared_state(const struct shared *s);
int64_t shared_size(const struct shared *s);
int64_t shared_settled_size(const struct shared *s);
int64_t shared_visible(const struct shared *s);
int64_t shared_proven(const struct shared *s);
/* "" before a source has agreed to send. */
const char *shared_source_name(const struct shared *s);
bool shared_source_stands_in(const struct shared *s);
/* How often bytes were hidden again, and the lowest of them. A reader that was handed bytes from there on may have got
 * wrong ones. */
unsigned shared_rewinds(const struct shared *s);
int64_t shared_rewind_floor(const struct shared *s);
/* NULL: no source has failed. */
const struct fetch_end *shared_trouble(const struct shared *s);
/* At FILL_PROVED; the fetch loop at any time. */
const char *shared_media_type(const struct shared *s);
bool shared_is_manifest(const struct shared *s);
/* At FILL_FAILED. */
const struct fetch_end *shared_end(const struct shared *s);

/* Fetch loop, from here on. */

/* There is a size, and a source's word outranks it. */
bool shared_size_is_claimed(const struct shared *s);
enum size_word shared_size_word(const struct shared *s);
void shared_set_size(struct shared *s, int64_t size, enum size_word word);
/* A source has agreed to send; it is as long-lived as the process. */
void shared_flows(struct shared *s, const struct source *source);
/* It has failed, and readers that have not begun wait for the next one's word. */
void shared_waits(struct shared *s);
void shared_show(struct shared *s, int64_t visible);
/* Nothing from `to` on is visible until shared_show. */
void shared_hide(struct shared *s, int64_t to);
/* As above, and those bytes were wrong. */
void shared_take_back(struct shared *s, int64_t to);
void shared_prove(struct shared *s, int64_t end);
void shared_set_media_type(struct shared *s, const char *media_type);
void shared_set_manifest(struct shared *s, bool is_manifest);
/* Of several only the first is kept. */
void shared_set_trouble(struct shared *s, const struct fetch_end *end);
/* The whole blob is proved, and readers may have all of it. */
void shared_proved(struct shared *s, int64_t size);
void shared_failed(struct shared *s, const struct fetch_end *end);

#endif
