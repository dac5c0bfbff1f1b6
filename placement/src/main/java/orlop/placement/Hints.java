package orlop.placement;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What one pod knows of others beside the registry: what their answers carried, and what it has
 * itself just sent where. It corrects a pod's record until a newer record, or a newer answer, tells
 * of it, and for {@link #LIFE_MS} at most, so that pods whose view is stale do not all choose the
 * pod that looked best.
 *
 * <p>An immutable value: whoever routes holds the newest one and hands it in with the {@link
 * Attempt}. At most {@link #MAX_PODS} pods and {@link #MAX_SENT} loads for each. A change costs
 * O(pods with hints), a look O(loads sent there).
 */
public final class Hints {
  /** Longer than any view is stale. */
  public static final long LIFE_MS = 60_000;

  /** A record is that much ahead of the copies that are announced beside it, at most. */
  private static final long JOIN_MS = 2_000;

  static final int MAX_PODS = 256;
  static final int MAX_SENT = 64;

  public static final Hints NONE = new Hints(Map.of());

  /**
   * A pod's own word in an answer.
   *
   * @param atMs when, by the pod's clock, milliseconds since the epoch
   * @param queuedMs load time of what is queued there
   */
  public record Heard(long atMs, int loadsQueued, long queuedMs, Memory used, boolean draining) {}

  /** A load that this pod asked for. */
  private record Sent(String modelId, long atMs, long loadMs, Memory size) {}

  private record Note(@Nullable Heard heard, List<Sent> sent, long newestMs) {}

  private final Map<String, Note> notes;

  private Hints(Map<String, Note> notes) {
    this.notes = notes;
  }

  /** After an answer of the pod; an older one than was heard before changes nothing. */
  public Hints heard(String podId, Heard heard, long nowMs) {
    Note old = notes.get(podId);
    if (old != null && old.heard != null && old.heard.atMs >= heard.atMs) {
      return this;
    }
    // Its word counts what was sent before, but does not say of which models.
    List<Sent> sent = old == null ? List.of() : after(old.sent, heard.atMs - JOIN_MS);
    return with(podId, new Note(heard, sent, nowMs), nowMs);
  }

  /**
   * After a load was asked for there. Asking for the same one again a moment later changes nothing:
   * it is one load.
   *
   * @param loadMs what it is expected to take, without the wait
   */
  public Hints sent(String podId, String modelId, long loadMs, Memory size, long nowMs) {
    Note old = notes.get(podId);
    List<Sent> sent = new ArrayList<>(old == null ? List.of() : after(old.sent, nowMs - LIFE_MS));
    for (Sent before : sent) {
      if (before.modelId.equals(modelId) && before.atMs > nowMs - JOIN_MS) {
        return this;
      }
    }
    sent.removeIf(before -> before.modelId.equals(modelId));
    if (sent.size() >= MAX_SENT) {
      sent.removeFirst();
    }
    sent.add(new Sent(modelId, nowMs, loadMs, size));
    Heard heard = old == null ? null : old.heard;
    return with(podId, new Note(heard, List.copyOf(sent), nowMs), nowMs);
  }

  /** Pods of which something is remembered. */
  public int size() {
    return notes.size();
  }

  /** The pod as it should be by now; itself when its record is the newest word. */
  Pod seen(Pod pod, long nowMs) {
    Note note = notes.get(pod.id());
    return note == null ? pod : seen(pod, note, nowMs);
  }

  /** Whether the model was sent there and nothing newer was heard; then a further call joins it. */
  boolean sentLately(Pod pod, String modelId, long nowMs) {
    Note note = notes.isEmpty() ? null : notes.get(pod.id());
    if (note != null) {
      for (Sent sent : note.sent) {
        if (sent.modelId.equals(modelId)
            && sent.atMs > pod.outlook().saidMs() - JOIN_MS
            && sent.atMs > nowMs - LIFE_MS) {
          return true;
        }
      }
    }
    return false;
  }

  /** Whether its last answer said that it takes nothing new, and its record does not know yet. */
  boolean drains(Pod pod, long nowMs) {
    Note note = notes.isEmpty() ? null : notes.get(pod.id());
    Heard heard = note == null ? null : note.heard;
    return heard != null
        && heard.draining
        && heard.atMs > pod.outlook().saidMs()
        && heard.atMs > nowMs - LIFE_MS;
  }

  private static Pod seen(Pod pod, Note note, long nowMs) {
    Pod seen = pod;
    long toldMs = pod.outlook().saidMs();
    Heard heard = note.heard;
    if (heard != null && heard.atMs > toldMs && heard.atMs > nowMs - LIFE_MS) {
      seen = pod.telling(heard);
      toldMs = heard.atMs;
    }
    for (Sent sent : note.sent) {
      if (sent.atMs > toldMs && sent.atMs > nowMs - LIFE_MS) {
        Pod then = seen.withOutlook(seen.outlook().at(sent.atMs));
        seen = then.alsoLoading(sent.size, sent.loadMs);
      }
    }
    return seen;
  }

  private static List<Sent> after(List<Sent> sent, long atMs) {
    return sent.stream().filter(s -> s.atMs > atMs).toList();
  }

  private Hints with(String podId, Note note, long nowMs) {
    Map<String, Note> next = new HashMap<>(notes);
    next.put(podId, note);
    if (next.size() > MAX_PODS) {
      next.values().removeIf(old -> old.newestMs < nowMs - LIFE_MS);
    }
    if (next.size() > MAX_PODS) {
      next.remove(oldest(next));
    }
    return new Hints(next);
  }

  private static String oldest(Map<String, Note> notes) {
    String oldest = "";
    long oldestMs = Long.MAX_VALUE;
    for (Map.Entry<String, Note> entry : notes.entrySet()) {
      long ms = entry.getValue().newestMs;
      if (ms < oldestMs || (ms == oldestMs && entry.getKey().compareTo(oldest) < 0)) {
        oldest = entry.getKey();
        oldestMs = ms;
      }
    }
    return oldest;
  }
}
