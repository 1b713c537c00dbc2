/* Reads parameters from the query of a request target. Pure. Thread: any. */
#ifndef ENTREPOT_ACCESS_QUERY_H
#define ENTREPOT_ACCESS_QUERY_H

#define QUERY_PARAM_MAX 4096
/* Finds the first parameter with this name and decodes it. 1: found. 0: absent. -1: malformed, too long, or it contains
 * a NUL; out must not be used. */
int query_param(const char *target, const char *name, char out[QUERY_PARAM_MAX]);

#endif
