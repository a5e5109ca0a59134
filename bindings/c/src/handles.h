/* Handles: numbers that look like pointers, each good for one thing until it is ended. */
#ifndef AGENTD_HANDLES_H
#define AGENTD_HANDLES_H

#include <stdint.h>

enum handle_kind { HANDLE_CLIENT = 1, HANDLE_STREAM = 2, HANDLE_REPLY = 3, HANDLE_ERROR = 4 };

/* Return a new handle of a value other than 0, or NULL when there is no memory. */
void *handle_new(enum handle_kind kind, uintptr_t value);

/* Return the value of a handle; 0 for NULL, an ended one, or one of another kind. */
uintptr_t handle_value(enum handle_kind kind, const void *handle);

/* End a handle and return its value; 0 as above, so that of two threads only one gets it. */
uintptr_t handle_end(enum handle_kind kind, const void *handle);

/* Keep the table whole over a fork: for pthread_atfork. */
void handles_lock(void);
void handles_unlock(void);

#endif
