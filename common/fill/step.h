/* The steps of a fill. Each is a function that returns the next step, and fill_go alone moves between them; the drawing
 * is in fill.c. An event (of the fetch, the hasher or the catalogue) also ends in a step: its handler returns it to its
 * caller, which calls fill_go. Thread: fetch loop. */
#ifndef ENTREPOT_FILL_STEP_H
#define ENTREPOT_FILL_STEP_H

/* A fill stays in the steps marked * until something happens. */
#define FILL_STEPS(X)                                                                                        \
    X(WAITING, fill_wait)               /* * the next try is due later */                                    \
    X(REOPENING, fill_reopen)           /* an earlier fill has left bytes, which are hashed again */         \
    X(RESUMING, fill_resume)            /* those bytes are hashed */                                         \
    X(FETCHING, plan_fetch)             /* * a source is asked, and sends */                                 \
    X(CHECKING, check_rest)             /* * no bytes arrive now; those that came are hashed */              \
    X(JUDGING, plan_judge)              /* the fetch is over, and all it brought is hashed */                \
    X(REJECTING, plan_reject_source)    /* the source sent wrong bytes: others are asked first */            \
    X(RETRYING, plan_retry)             /* the fetch has failed: which source is next, and when */           \
    X(AWAITING_ROOM, fill_window_await) /* there is neither disk space nor memory for more */                \
    X(FINISHING, keep_finish)           /* all bytes are there: does the digest match? */                    \
    X(READING, keep_read)               /* * it matches, and is a large manifest: the work pool parses it */ \
    X(COMMITTING, keep_commit)          /* * proved; being synced and renamed */                             \
    X(FAILED, fill_end_failed)          /* readers are told why */                                           \
    X(OVER, fill_over)                  /* * committed, passed through, failed or paused: only its readers keep it */

enum fill_step {
    STEP_STAY, /* no step: all goes on as before */
#define FILL_STEP(name, fn) STEP_##name,
    FILL_STEPS(FILL_STEP)
#undef FILL_STEP
};

#endif
