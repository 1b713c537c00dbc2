/* What the files of `doctor`'s checks share. Thread: main. */
#ifndef ENTREPOT_CLI_DOCTOR_CHECKS_H
#define ENTREPOT_CLI_DOCTOR_CHECKS_H

#include "common/cli/diagnosis.h"

/* Sets the verdict and the message; control characters are replaced. */
void doctor_say(struct doctor_check *c, enum doctor_verdict v, const char *fmt, ...) printf_like(3, 4);
/* Sets what to do. */
void doctor_todo(struct doctor_check *c, const char *fmt, ...) printf_like(2, 3);
/* True if what this check stands on (met) is not so; then the check is skipped, and says what is missing. */
bool doctor_needs(struct doctor_check *c, bool met, const char *what);

/* The checks. Each says its verdict, and notes in d what later checks stand on. */
void doctor_check_data(struct doctor *d, struct doctor_check *c);
void doctor_check_hosted(struct doctor *d, struct doctor_check *c);
void doctor_check_rot(struct doctor *d, struct doctor_check *c);
void doctor_check_clock(struct doctor *d, struct doctor_check *c);
void doctor_check_names(struct doctor *d, struct doctor_check *c);
void doctor_check_tcp(struct doctor *d, struct doctor_check *c);
void doctor_check_tls(struct doctor *d, struct doctor_check *c);
void doctor_check_v2(struct doctor *d, struct doctor_check *c);
void doctor_check_auth(struct doctor *d, struct doctor_check *c);
void doctor_check_central(struct doctor *d, struct doctor_check *c);
void doctor_check_road(struct doctor *d, struct doctor_check *c);
void doctor_check_replica(struct doctor *d, struct doctor_check *c);
void doctor_check_upstreams(struct doctor *d, struct doctor_check *c);
void doctor_check_pull(struct doctor *d, struct doctor_check *c);

#endif
