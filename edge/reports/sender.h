/* Posts reports to central, one after the other. Central says how often, from one's start to that of the next.
 *
 *   resting ── it is time, and there is something to say ──▶ asking ── answered, or failed ──▶ resting
 *
 * After a failure it rests for longer each time, so that edges do not crowd a central that comes back. A central that
 * does not know the call is of an older version: it is asked again now and then.
 *
 * Thread: the fetch loop, but for what is marked. */
#ifndef ENTREPOT_EDGE_REPORTS_SENDER_H
#define ENTREPOT_EDGE_REPORTS_SENDER_H

#include "common/http/client.h"
#include "common/wire/edge_report.h"
#include "edge/link/uplink.h"

struct report_sender;

struct report_sender_config {
    const struct uplink *uplink; /* borrowed */
    struct loop *loop;
    struct http_client *client;
    /* Fills a report that is about to be sent; false: there is nothing to say now. local: this end of the last
     * connection to central; "": not known. took_ms: what the last answer, or waiting for it in vain, took. */
    bool (*fill)(struct wire_report *m, const char *local, int64_t took_ms, void *arg);
    /* After each report that was sent; rs NULL: it was not taken. True: there is more to say at once. NULL: nobody is
     * told. */
    bool (*answered)(const struct wire_report_response *rs, void *arg);
    void *arg;
};
struct report_sender *report_sender_new(const struct report_sender_config *cfg);
void report_sender_begin(struct report_sender *s);
/* When no loop runs. */
void report_sender_free(struct report_sender *s);

struct report_sender_stats {
    int64_t sent, failed; /* since the start */
    int64_t taken_ms;     /* when central took the last, monotonic; 0: none yet */
    char problem[256];    /* why the last was not taken; "": it was, or there was none */
};
/* Any thread. */
void report_sender_stats(struct report_sender *s, struct report_sender_stats *out);

#endif
