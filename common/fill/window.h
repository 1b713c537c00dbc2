/* Memory for bytes that do not fit on the disk. Only window.c touches the fields. Thread: fetch loop, unless a function
 * says otherwise. */
#ifndef ENTREPOT_FILL_WINDOW_H
#define ENTREPOT_FILL_WINDOW_H

#include <pthread.h>

#include "common/core/map.h"
#include "common/fill/fill.h"
#include "common/fill/step.h"

/* Bytes a fill may keep in memory when the disk takes no more: the window its readers must stay within. It takes them
 * from the budget pass_through, as few as FILL_WINDOW_MIN when that is short: a piece that is withheld until it is
 * proved, and as much again to go on with. */
#define FILL_WINDOW (16 * MiB)
#define FILL_WINDOW_MIN (2 * PIECE_SIZE)
#define FILL_WINDOW_TRY_MS 100

struct window {
    bool waits;    /* STEP_WAITING: until the budget has room for one */
    int64_t bytes; /* taken from the budget; of 0 the window takes nothing */
};

/* What the windows of each caller have taken from the budget, so that no caller takes more than it leaves to others.
 * One in each engine. Thread: any, under its lock. */
struct window_callers {
    pthread_mutex_t lock;
    struct map *map; /* struct caller -> window_caller */
};
void fill_window_callers_init(struct window_callers *w);
/* When no fill is left. */
void fill_window_callers_fini(struct window_callers *w);

/* Any thread, when nobody has a reference any more. */
void fill_window_fini(struct fill *f);
/* Takes a window's bytes from the budget, if that has not been done. False: there is no room. */
bool fill_window_take(struct fill *f) must_check;
/* What it needs no more goes back to the budget. */
void fill_window_settle(struct fill *f);
/* The source has to wait for readers. */
bool fill_window_full(struct fill *f);
/* In mid-body, and there is neither disk nor memory for more: the source is left, and asked for the rest when there is.
 * Returns the next step. */
enum fill_step fill_window_wait(struct fill *f) must_check;
/* STEP_AWAITING_ROOM */
enum fill_step fill_window_await(struct fill *f) must_check;
/* False: it waits on, and fill_retry_in has been called. */
bool fill_window_may_go_on(struct fill *f) must_check;
void fill_window_stop_waiting(struct fill *f);
/* A source agrees to send what cannot be kept, and nobody has been promised anything yet. STEP_FAILED, with ERR_BUSY:
 * it cannot be passed on either. */
enum fill_step fill_window_refused(struct fill *f) must_check;

#endif
