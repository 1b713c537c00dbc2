/* Which source a fill asks for which bytes, and with what result. Only plan.c touches the fields. Thread: fetch loop. */
#ifndef ENTREPOT_FILL_PLAN_H
#define ENTREPOT_FILL_PLAN_H

#include "common/fill/fill.h"
#include "common/fill/step.h"
#include "common/fill/stretch.h"
#include "common/source/failure.h"

struct plan {
    struct source *sources[SOURCES_MAX];
    unsigned char tries[SOURCES_MAX];          /* tries in a row that brought no byte */
    unsigned char mismatches[SOURCES_MAX];     /* times its bytes did not match */
    unsigned char ahead_failures[SOURCES_MAX]; /* stretches ahead that came to nothing */
    unsigned n_sources, source;                /* source: whose turn it is to send from what is written on */
    int64_t from;                              /* of the stretch whose turn it is, or was last */
    bool disproved_ahead;                      /* the catalogue has disproved a piece that came ahead of its turn */
    bool has_flowed;                           /* a source has agreed to send, if only for a while */
    bool paused;                               /* the source waits for readers */
    bool gave_way;                             /* its place at the source went to another fetch, once */
    const char *origin, *avoid_origin;         /* within the source: who sends; whose bytes did not match */
    int64_t gone_since_ms;                     /* since when the source cannot be reached; 0: it can */
    struct fetch_end last;                     /* how the fetch ended */
    struct failures failures;                  /* of its sources */
    int64_t tick_written, rate;                /* bytes a second */
};

/* Asks the engine for the sources. */
void plan_init(struct fill *f);
bool plan_has_sources(const struct fill *f);
/* A source has agreed to send, if only for a while. */
bool plan_has_flowed(const struct fill *f);
/* The source waits for readers. */
bool plan_is_paused(const struct fill *f);
/* Sets how many bytes were there before anything was fetched. */
void plan_goes_on_from(struct fill *f, int64_t written);
/* Every `ms`: measures, and looks for readers far ahead. */
void plan_tick(struct fill *f, int64_t ms);
/* The source sends no more, and whoever has not begun waits for the next one's word. */
void plan_leave(struct fill *f);
/* The source has sent wrong bytes or a wrong length. Returns the step that follows. */
enum fill_step plan_source_was_wrong(struct fill *f, const char *what) must_check;
/* STEP_FETCHING: the next try, from what is written on. All of it is hashed. */
enum fill_step plan_fetch(struct fill *f) must_check;
/* STEP_JUDGING, STEP_REJECTING, STEP_RETRYING */
enum fill_step plan_judge(struct fill *f) must_check;
enum fill_step plan_reject_source(struct fill *f) must_check;
enum fill_step plan_retry(struct fill *f) must_check;
/* Pauses the source, or lets it go on, by what is in memory. */
void plan_hold_back(struct fill *f);

/* For stretch.c. */

/* The request for a stretch, on behalf of by, with what is known against its source. Returns whom to send it to. */
struct source *plan_request(struct fill *f, const struct stretch *st, const struct fill_spec *by,
                            struct fetch_request *out) must_check;
/* Of the stretch whose turn it is: its head (by: who answers), some of it, nothing more for now, its end. Return the step that follows. */
enum fill_step plan_take_head(struct fill *f, const struct source *by, const struct fetch_head *h) must_check;
enum fill_step plan_take_data(struct fill *f, const char *p, size_t len) must_check;
enum fill_step plan_take_lull(struct fill *f) must_check;
enum fill_step plan_take_end(struct fill *f, const struct fetch_end *e) must_check;
/* Of a stretch ahead: it has failed; or what origin (fetch_head.origin) sent was wrong. */
void plan_ahead_failed(struct fill *f, const struct stretch *st);
void plan_ahead_was_wrong(struct fill *f, const char *origin);
/* There is another source that would be asked for it, had this one failed. */
bool plan_has_another(const struct fill *f, const struct stretch *st);

#endif
