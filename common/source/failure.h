/* What the failure of a source means: which of several is told to whoever asked, and what the next step is. Fills,
 * questions and the endpoints of an upstream all follow this one rule. Thread: any. */
#ifndef ENTREPOT_SOURCE_FAILURE_H
#define ENTREPOT_SOURCE_FAILURE_H

#include "common/source/source.h"

/* What has failed so far for one request. All zero: nothing has. */
struct failures {
    struct fetch_end told; /* the most telling one; code 0: none */
    const void *by;        /* whose it is */
};

/* Takes note of a failure of `by`: a source, or one endpoint of it, as long-lived as *f. A second word of the same
 * one replaces its first. */
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
    FAILURE_ASK_OTHER, /* the same one would say the same again: another may do better */
    FAILURE_ASK_AGAIN, /* the same one may do better in a moment */
    FAILURE_AWAIT,     /* the same one, too, once it is there again; to ask it at once is of no use */
};
/* Of whoever answers for himself alone, such as an endpoint. */
enum failure_step failure_next(const struct fetch_end *end);
/* Of a whole source, which has asked again itself so far as that is of use: an error it answers with is final, or one
 * request would come down on the last tier many times. Not so 503, for then it is busy, or about to restart; nor once a
 * part has come (began), for then it had agreed. */
enum failure_step failure_next_of_source(const struct fetch_end *end, bool began);

#endif
