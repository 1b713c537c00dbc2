/* Statuses of answers, and the error codes they tell. Thread: any. */
#include "common/wire/wire.h"

static const struct {
    enum wire_status status;
    int code;
} told[] = {
    {WIRE_KNOWN, 0},
    {WIRE_NOT_FOUND, ERR_NOT_FOUND},
    {WIRE_DENIED, ERR_DENIED},
    {WIRE_RATE_LIMITED, ERR_RATE_LIMITED},
    {WIRE_INVALID, ERR_INVALID},
    {WIRE_TIMEOUT, ERR_TIMEOUT},
};

enum wire_status wire_status_of(int code) {
    for (size_t i = 0; i < ARRAY_LEN(told); i++) {
        if (told[i].code == code) return told[i].status;
    }
    return WIRE_UNAVAILABLE;
}

int wire_status_error(enum wire_status status) {
    for (size_t i = 0; i < ARRAY_LEN(told); i++) {
        if (told[i].status == status) return told[i].code;
    }
    return ERR_UPSTREAM;
}
