/* Which source a fill asks for which bytes, and with what result. Only plan.c touches the fields. Thread: fetch
 * loop. */
#ifndef ENTREPOT_FILL_PLAN_H
#define ENTREPOT_FILL_PLAN_H

#include "common/fill/fill.h"
#include "common/fill/step.h"
#include "common/source/failure.h"

/* Bytes [from, to) of the blob, to be had of one source. Several may be under way, of several sources; the one that
 * begins at what is written goes into the part file, the others into the file of pieces ahead (aside.c). */
struct stretch {
    unsigned source;  /* in plan.sources */
    int64_t from, to; /* to INT64_MAX: to the end */
};

struct plan {
    struct source *sources[SOURCES_MAX];
    unsigned char tries[SOURCES_MAX];          /* tries in a row that brought no byte */
    unsigned char mismatches[SOURCES_MAX];     /* times its bytes did not match */
    unsigned char ahead_failures[SOURCES_MAX]; /* stretches ahead that came to nothing */
    unsigned n_sources, source;                /* source: whose turn it is to send from what is written on */
    struct fetch *fetch;
    int64_t fetch_from;
    bool has_flowed;                   /* a source has agreed to send, if only for a while */
    bool paused;                       /* the source waits for readers */
    bool gave_way;                     /* it had to, once */
    const char *origin, *avoid_origin; /* within the source: who sends; whose bytes did not match */
    int64_t gone_since_ms;             /* the source cannot be reached since; 0: it can */
    struct fetch_end last;             /* how the fetch ended */
    struct failures failures;          /* of its sources */
    int64_t tick_written, rate;        /* bytes a second */
};

/* Asks the engine for the sources. */
void plan_init(struct fill *f);
/* Nothing is fetched any more. */
void plan_over(struct fill *f);
bool plan_has_sources(const struct fill *f);
/* A source has agreed to send, if only for a while. */
bool plan_has_flowed(const struct fill *f);
/* The source waits for readers. */
bool plan_is_paused(const struct fill *f);
/* So much was there before anything was fetched. */
void plan_goes_on_from(struct fill *f, int64_t written);
/* Every `ms`: measures, and looks for readers far ahead. */
void plan_tick(struct fill *f, int64_t ms);
/* Somebody else waits for it, too. */
void plan_wanted_by(struct fill *f, const struct caller *caller);
/* The source sends no more, and whoever has not begun waits for the next one's word. */
void plan_leave(struct fill *f);
/* The source has sent what is not true. Returns the step that follows from it. */
enum fill_step plan_source_was_wrong(struct fill *f, const char *what) must_check;
/* STEP_FETCHING: the next try, from what is written on. All of it is hashed. */
enum fill_step plan_fetch(struct fill *f) must_check;
/* STEP_JUDGING, STEP_REJECTING, STEP_RETRYING */
enum fill_step plan_judge(struct fill *f) must_check;
enum fill_step plan_reject_source(struct fill *f) must_check;
enum fill_step plan_retry(struct fill *f) must_check;
/* Pauses the source, or lets it go on, by what is in memory. */
void plan_hold_back(struct fill *f);
/* A stretch for a reader far ahead: of the source whose turn it is, or of another where that has failed more often.
 * False: all have failed too often. */
bool plan_stretch_ahead(const struct fill *f, int64_t from, int64_t to, struct stretch *out) must_check;
/* It came to nothing. */
void plan_stretch_failed(struct fill *f, const struct stretch *st);
/* There is another source that would be asked, had this one failed. */
bool plan_has_another(const struct fill *f, const struct stretch *st);
/* Asks for it, on behalf of by, and says what is known against its source. doubted: more than the plan knows of. */
struct fetch *plan_ask(struct fill *f, const struct stretch *st, const struct fill_spec *by, bool doubted,
                       const struct fetch_events *ev, void *arg);
/* The next request asks for another than origin (fetch_head.origin), which has sent wrong bytes. */
void plan_avoid(struct fill *f, const char *origin);

#endif
