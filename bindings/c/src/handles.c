/* A table of slots. A handle is a slot's number, its generation and its kind in one word, so that
 * ending a handle twice, or using an ended one, is noticed in place of corrupting memory. */
#include "handles.h"

#include <pthread.h>
#include <stdlib.h>

/* generation 32 bits | slot 28 bits | kind 4 bits */
#define KIND_BITS 4
#define SLOT_BITS 28
#define SLOT_LIMIT ((uint32_t)1 << SLOT_BITS)
#define NONE UINT32_MAX

struct slot {
  uintptr_t value; /* 0 while it is free */
  uint32_t generation;
  uint32_t next_free;
};

/* A handle must hold 64 bits. */
typedef char pointers_have_64_bits[sizeof(void *) == 8 ? 1 : -1];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct slot *slots;
static uint32_t slot_count;
static uint32_t first_free = NONE;

void handles_lock(void) { pthread_mutex_lock(&lock); }

void handles_unlock(void) { pthread_mutex_unlock(&lock); }

static int grow(void) {
  uint32_t count = slot_count ? slot_count * 2 : 64;
  struct slot *grown;
  if (count > SLOT_LIMIT) return 0;
  grown = realloc(slots, count * sizeof *grown);
  if (!grown) return 0;
  slots = grown;
  while (slot_count < count) {
    slots[slot_count].value = 0;
    slots[slot_count].generation = 1;
    slots[slot_count].next_free = first_free;
    first_free = slot_count++;
  }
  return 1;
}

void *handle_new(enum handle_kind kind, uintptr_t value) {
  uintptr_t handle = 0;
  pthread_mutex_lock(&lock);
  if (first_free != NONE || grow()) {
    uint32_t number = first_free;
    first_free = slots[number].next_free;
    slots[number].value = value;
    handle = (uintptr_t)slots[number].generation << (SLOT_BITS + KIND_BITS) |
             (uintptr_t)number << KIND_BITS | (uintptr_t)kind;
  }
  pthread_mutex_unlock(&lock);
  return (void *)handle;
}

/* Return the slot that a handle is good for, or NULL. The lock is held. */
static struct slot *find(enum handle_kind kind, const void *handle) {
  uintptr_t word = (uintptr_t)handle;
  uint32_t number = (uint32_t)(word >> KIND_BITS) & (SLOT_LIMIT - 1);
  if ((word & ((1u << KIND_BITS) - 1)) != (uintptr_t)kind || number >= slot_count) return NULL;
  if (slots[number].generation != (uint32_t)(word >> (SLOT_BITS + KIND_BITS))) return NULL;
  return slots[number].value ? &slots[number] : NULL;
}

uintptr_t handle_value(enum handle_kind kind, const void *handle) {
  struct slot *slot;
  uintptr_t value;
  pthread_mutex_lock(&lock);
  slot = find(kind, handle);
  value = slot ? slot->value : 0;
  pthread_mutex_unlock(&lock);
  return value;
}

uintptr_t handle_end(enum handle_kind kind, const void *handle) {
  struct slot *slot;
  uintptr_t value = 0;
  pthread_mutex_lock(&lock);
  slot = find(kind, handle);
  if (slot) {
    value = slot->value;
    slot->value = 0;
    /* A slot whose generations are used up is not used again. */
    if (++slot->generation) {
      slot->next_free = first_free;
      first_free = (uint32_t)(slot - slots);
    }
  }
  pthread_mutex_unlock(&lock);
  return value;
}
