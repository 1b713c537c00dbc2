/* What a failure of a source means: which of several failures is reported, and what the next step is. Fills, questions
 * and the endpoints of an upstream all follow this rule. Thread: any. */
#ifndef ENTREPOT_SOURCE_FAILURE_H
#define ENTREPOT_SOURCE_FAILURE_H

#include "common/source/source.h"

/* The failures of one request so far. All zero: none. */
struct failures {
    struct fetch_end told; /* the most informative one; code 0: none */
    const void *by;        /* who failed */
};

/* Notes a failure of `by`, a source or one of its endpoints, which must live as long as *f. A second failure of the
 * same one replaces its first. */
void failure_note(struct failures *f, const void *by, const struct fetch_end *end);

/*   failure                                   next step     told before
 *   404, not there                            ASK_OTHER     nothing: it counts only if nobody failed to answer
 *   cannot be reached                         AWAIT         404
 *   no answer in time, 408                    ASK_AGAIN     what cannot be reached
 *   5xx, broken off, wrong length or digest   ASK_AGAIN     a time-out
 *   501 and any other status                  ASK_OTHER     a time-out
 *   401, 403                                  ASK_OTHER     all that stand above
 *   429                                       ASK_OTHER     everything: it says when to come back */
enum failure_step {
    FAILURE_ASK_OTHER, /* the same one would answer the same again; another may do better */
    FAILURE_ASK_AGAIN, /* the same one may do better in a moment */
    FAILURE_AWAIT,     /* the same one may do better once it can be reached again; asking it at once is useless */
};
/* The next step after a failure of something that answers for itself alone, such as an endpoint. */
enum failure_step failure_next(const struct fetch_end *end);
/* The next step after a failure of a whole source, which has already retried as far as that is useful. So an error that
 * it answers with is final; otherwise one request would become many at the last tier. Exceptions: 503, because then it
 * is busy or about to restart; and if a part has come (began), because then it had agreed to send. */
enum failure_step failure_next_of_source(const struct fetch_end *end, bool began);

#endif
