/* What `doctor` says of this machine's clock. Thread: main. */
#include "common/cli/doctor_checks.h"

#include "common/core/clock.h"
#include "common/core/json.h"

#include <stdlib.h>

/* A clock that is wrong by more than this breaks certificates and tokens. */
enum { SKEW_WARN_S = 30, SKEW_FAIL_S = 300 };
/* 2025-01-01: no clock of a machine that runs this is earlier. */
#define EARLIEST_CLOCK 1735689600

/* The largest clock_skew_s (ours minus theirs) among the facts. */
static bool worst_skew(const struct doctor *d, int64_t *skew, const char **whose) {
    const json_t *u, *list = json_object_get(d->doctor, "upstreams"), *central = json_object_get(d->doctor, "central");
    bool found = false;
    size_t i;
    *skew = 0;
    json_array_foreach(list, i, u) {
        const json_t *v = json_object_get(u, "clock_skew_s");
        if (!json_is_number(v)) continue;
        int64_t s = (int64_t)json_number_value(v);
        if (!found || llabs(s) > llabs(*skew)) {
            *skew = s;
            *whose = json_text(u, "name", "an upstream");
        }
        found = true;
    }
    const json_t *v = json_object_get(central, "clock_skew_s");
    if (json_is_number(v) && (!found || llabs((long long)json_number_value(v)) > llabs(*skew))) {
        *skew = (int64_t)json_number_value(v);
        *whose = "central";
        found = true;
    }
    return found;
}

/* An upstream whose certificate looks expired or not yet valid here; NULL: none. */
static const char *looks_expired(const struct doctor *d) {
    const json_t *u, *list = json_object_get(d->doctor, "upstreams");
    size_t i;
    json_array_foreach(list, i, u) {
        if (json_is_true(json_object_get(u, "certificate_time"))) return json_text(u, "name", "an upstream");
    }
    return NULL;
}

static void say_skew(struct doctor_check *c, int64_t skew, const char *whose, const char *expired) {
    char now[CLOCK_DATE_MAX];
    bool fails = expired || llabs(skew) > SKEW_FAIL_S;
    doctor_say(c, fails ? DOCTOR_FAIL : DOCTOR_WARN, "%s here is %lld s %s the clock of %s%s%s",
               clock_date(clock_wall_s(), now), llabs((long long)skew), skew > 0 ? "ahead of" : "behind", whose,
               expired ? "; that is why certificates look expired or not yet valid, as that of " : "",
               expired ? expired : "");
    doctor_todo(
        c, "set the clock, and run a time service (systemd-timesyncd, chrony): certificates and tokens depend on the "
           "time");
}

void doctor_check_clock(struct doctor *d, struct doctor_check *c) {
    int64_t skew;
    char now[CLOCK_DATE_MAX];
    const char *whose = "", *expired = looks_expired(d);
    if (clock_wall_s() < EARLIEST_CLOCK) {
        doctor_say(c, DOCTOR_FAIL, "this machine's clock is years behind");
        doctor_todo(c, "set it, and run a time service (systemd-timesyncd, chrony)");
    } else if (!worst_skew(d, &skew, &whose) && expired) {
        doctor_say(c, DOCTOR_WARN, "it is %s here, and the certificate of %s looks expired or not yet valid",
                   clock_date(clock_wall_s(), now), expired);
        doctor_todo(c, "compare that with a clock you trust before anything else");
    } else if (!worst_skew(d, &skew, &whose)) {
        doctor_say(c, DOCTOR_OK, "plausible; no answer has come yet to compare it with");
    } else if (llabs(skew) > SKEW_WARN_S) {
        say_skew(c, skew, whose, expired);
    } else {
        doctor_say(c, DOCTOR_OK, "within %lld s of %s", llabs((long long)skew), whose);
    }
}
