/* The checks of `doctor`. Thread: main; may take some seconds where something does not answer. */
#ifndef ENTREPOT_CLI_DIAGNOSIS_H
#define ENTREPOT_CLI_DIAGNOSIS_H

#include <jansson.h>

#include "common/admin/engine_files.h"
#include "common/config/node_config.h"

enum doctor_verdict { DOCTOR_OK, DOCTOR_WARN, DOCTOR_FAIL, DOCTOR_SKIP };
/* "ok", "warn", "FAIL", "skip" */
const char *doctor_verdict_word(enum doctor_verdict v);

struct doctor_check {
    const char *name;
    enum doctor_verdict verdict;
    char message[700], todo[400]; /* todo: what to do, "" for nothing */
};
struct doctor {
    const struct node_config *node;
    const char *resolver; /* ADDRESS[:PORT] to ask instead of this machine's; NULL: none */
    struct client_facts facts;
    json_t *status, *doctor; /* the daemon's answers, NULL without one; gone after doctor_run */
    bool resolved, connected, tls_ok, v2_ok, central_ok, insecure;
    struct doctor_check checks[20];
    size_t n;
};

/* Runs all; each (may be NULL) is called after each check. resolver: as in struct doctor. */
void doctor_run(struct doctor *d, const struct node_config *node, const char *resolver,
                void (*each)(const struct doctor_check *c));

#endif
