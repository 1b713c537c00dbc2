/* What `doctor` on an edge says of the road to central: how long it is, how wide, and whether large packets vanish on it.
 * Thread: main. */
#include "common/cli/doctor_checks.h"

#include <stdio.h>
#include <string.h>

#include "common/cli/print.h"
#include "common/core/json.h"

/* A faster transfer says nothing of the road but that it is wide. */
#define MEASURED_FROM_US 20000

static const char *rate_text(double mbit_per_s, char out[32]) {
    if (mbit_per_s < 1)
        snprintf(out, 32, "%.0f kbit/s", mbit_per_s * 1000);
    else
        snprintf(out, 32, "%.*f Mbit/s", mbit_per_s < 10 ? 1 : 0, mbit_per_s);
    return out;
}

/* "256.0 KiB came at 1.9 Mbit/s", after a separator. Returns its length. */
static size_t add_rate(char *out, size_t cap, const json_t *measured, const char *verb) {
    char size[SIZE_TEXT_MAX], rate[32];
    int64_t bytes = json_int(measured, "bytes", 0), us = json_int(measured, "us", 0);
    if (bytes <= 0 || us <= 0) return 0;
    bool fast = us < MEASURED_FROM_US;
    rate_text((double)bytes * 8 / (double)(fast ? MEASURED_FROM_US : us), rate);
    int n = snprintf(out, cap, ", %s %s at %s%s", size_text(bytes, size), verb, fast ? "more than " : "", rate);
    return n > 0 && (size_t)n < cap ? (size_t)n : 0;
}

static void say_measured(const json_t *road, struct doctor_check *c) {
    char rates[200] = "", seen_text[120] = "";
    const char *seen = json_text(road, "seen_as", ""), *own = json_text(road, "own", "");
    size_t n = add_rate(rates, sizeof(rates), json_object_get(road, "down"), "came");
    add_rate(rates + n, sizeof(rates) - n, json_object_get(road, "up"), "went");
    if (*seen && *own && strcmp(seen, own) != 0)
        snprintf(seen_text, sizeof(seen_text), "; this edge is %s, and central sees it as %s (NAT, or a proxy)", own,
                 seen);
    doctor_say(c, DOCTOR_OK, "round trip %.1f ms%s%s", (double)json_int(road, "round_trip_us", 0) / 1000, rates,
               seen_text);
}

static void say_vanish(const json_t *packets, const char *what, struct doctor_check *c) {
    long long pass = (long long)json_int(packets, "pass", 0), vanish = (long long)json_int(packets, "vanish", 0);
    doctor_say(c, DOCTOR_FAIL,
               "%s over about %lld bytes do not arrive: packets of %lld bytes pass, packets of %lld bytes vanish, and "
               "nobody says so (an MTU hole)",
               what, pass, pass, vanish);
    doctor_todo(c,
                "a tunnel or line on the way has an MTU of less than %lld, and a firewall drops the ICMP that says so. "
                "Let \"fragmentation needed\" (IPv6: \"packet too big\") pass; or clamp the MSS in the router; or, "
                "here: `ip route add CENTRAL via GATEWAY mtu %lld`",
                vanish, pass);
}

/* Something large hung. */
static void say_stalls(const json_t *road, struct doctor_check *c) {
    bool answers = json_is_true(json_object_get(road, "large_answers_stall")),
         requests = json_is_true(json_object_get(road, "large_requests_stall"));
    const char *what = answers && requests ? "answers and requests" : answers ? "answers" : "requests";
    const json_t *packets = json_object_get(road, "packets");
    if (packets) {
        say_vanish(packets, what, c);
        return;
    }
    doctor_say(c, DOCTOR_WARN, "%s of some size stalled, though not by the size of their packets", what);
    doctor_todo(c, "the line may be full, or lose packets: run doctor again when it is quiet, and look at its losses");
}

void doctor_check_road(struct doctor *d, struct doctor_check *c) {
    const json_t *road = json_object_get(d->doctor, "road");
    if (d->node->kind == NODE_CENTRAL) return;
    if (doctor_needs(c, road != NULL, d->doctor ? "nothing of central answers" : "no daemon runs, or it is older"))
        return;
    bool stalls = json_is_true(json_object_get(road, "large_answers_stall")) ||
                  json_is_true(json_object_get(road, "large_requests_stall"));
    if (stalls)
        say_stalls(road, c);
    else if (json_is_true(json_object_get(road, "older")))
        doctor_say(c, DOCTOR_SKIP, "not measured, because central is of a version that does not answer this");
    else if (!doctor_needs(c, json_is_true(json_object_get(road, "answers")), "central does not answer"))
        say_measured(road, c);
}
