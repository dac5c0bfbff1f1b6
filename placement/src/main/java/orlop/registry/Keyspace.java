package orlop.registry;

import org.jspecify.annotations.Nullable;

/**
 * The keys of one mesh:
 *
 * <pre>
 * root/mesh/models/modelId
 * root/mesh/aliases/name
 * root/mesh/pods/podId
 * root/mesh/copies/podId/modelId
 * root/mesh/leader
 * root/mesh/next
 * root/mesh/config/name
 * </pre>
 *
 * <p>Ids may hold any character: {@code '/'}, {@code '%'} and control characters are written as
 * {@code %XX}, a lone surrogate (which UTF-8 cannot hold) as {@code %uXXXX}. Immutable.
 */
final class Keyspace {
  private static final String MODELS = "models/";
  private static final String ALIASES = "aliases/";
  private static final String PODS = "pods/";
  private static final String COPIES = "copies/";
  private static final String LEADER = "leader";
  private static final String NEXT = "next";
  private static final String SETTINGS = "config/";

  private final String prefix;

  Keyspace(String root, String mesh) {
    prefix = root + "/" + escape(mesh) + "/";
  }

  /** What a key stands for. */
  sealed interface Key {
    record OfModel(String modelId) implements Key {}

    record OfAlias(String name) implements Key {}

    record OfPod(String podId) implements Key {}

    record OfCopy(String podId, String modelId) implements Key {}

    /** Of the leader or of who is next. */
    record OfElection() implements Key {}

    record OfSetting(String name) implements Key {}
  }

  /** What all keys of the mesh, and no others, begin with. */
  String prefix() {
    return prefix;
  }

  String model(String id) {
    return prefix + MODELS + escape(id);
  }

  String alias(String name) {
    return prefix + ALIASES + escape(name);
  }

  String pod(String id) {
    return prefix + PODS + escape(id);
  }

  String copy(String podId, String modelId) {
    return prefix + COPIES + escape(podId) + "/" + escape(modelId);
  }

  String leader() {
    return prefix + LEADER;
  }

  /** Who leads when the leader ends. */
  String next() {
    return prefix + NEXT;
  }

  /** Written by operators alone; its value is plain text. */
  String setting(String name) {
    return prefix + SETTINGS + escape(name);
  }

  /** The inverse of the methods above; null for a key that is none of ours. */
  @Nullable Key parse(String key) {
    if (!key.startsWith(prefix)) {
      return null;
    }
    int at = prefix.length();
    if (key.startsWith(MODELS, at)) {
      String id = unescape(key, at + MODELS.length(), key.length());
      return id == null ? null : new Key.OfModel(id);
    }
    if (key.startsWith(COPIES, at)) {
      return parseCopy(key, at + COPIES.length());
    }
    if (key.startsWith(PODS, at)) {
      String id = unescape(key, at + PODS.length(), key.length());
      return id == null ? null : new Key.OfPod(id);
    }
    if (key.startsWith(ALIASES, at)) {
      String name = unescape(key, at + ALIASES.length(), key.length());
      return name == null ? null : new Key.OfAlias(name);
    }
    if (key.startsWith(SETTINGS, at)) {
      String name = unescape(key, at + SETTINGS.length(), key.length());
      return name == null ? null : new Key.OfSetting(name);
    }
    return key.equals(leader()) || key.equals(next()) ? new Key.OfElection() : null;
  }

  private static @Nullable Key parseCopy(String key, int from) {
    int slash = key.indexOf('/', from);
    if (slash < 0) {
      return null;
    }
    String podId = unescape(key, from, slash);
    String modelId = unescape(key, slash + 1, key.length());
    return podId == null || modelId == null ? null : new Key.OfCopy(podId, modelId);
  }

  static String escape(String id) {
    StringBuilder out = null;
    for (int i = 0; i < id.length(); i++) {
      char c = id.charAt(i);
      boolean pair =
          Character.isHighSurrogate(c)
              && i + 1 < id.length()
              && Character.isLowSurrogate(id.charAt(i + 1));
      boolean plain = c != '/' && c != '%' && c >= ' ' && c != 127 && !Character.isSurrogate(c);
      if (out == null && !plain && !pair) {
        out = new StringBuilder(id.length() + 16).append(id, 0, i);
      }
      if (pair) {
        if (out != null) {
          out.append(c).append(id.charAt(i + 1));
        }
        i++;
      } else if (out != null) {
        if (plain) {
          out.append(c);
        } else {
          out.append((c < 256 ? "%%%02X" : "%%u%04X").formatted((int) c));
        }
      }
    }
    return out == null ? id : out.toString();
  }

  /** The id; null when it is not what {@link #escape} writes. */
  private static @Nullable String unescape(String key, int from, int to) {
    String part = key.substring(from, to);
    if (part.indexOf('%') < 0) {
      return escape(part).equals(part) ? part : null;
    }
    StringBuilder out = new StringBuilder(part.length());
    for (int i = 0; i < part.length(); i++) {
      char c = part.charAt(i);
      if (c != '%') {
        out.append(c);
        continue;
      }
      boolean wide = i + 1 < part.length() && part.charAt(i + 1) == 'u';
      int digits = wide ? i + 2 : i + 1;
      int end = digits + (wide ? 4 : 2);
      int code = end <= part.length() ? hex(part, digits, end) : -1;
      if (code < 0) {
        return null;
      }
      out.append((char) code);
      i = end - 1;
    }
    String id = out.toString();
    // Two keys must never mean the same id.
    return escape(id).equals(part) ? id : null;
  }

  private static int hex(String text, int from, int to) {
    int value = 0;
    for (int i = from; i < to; i++) {
      int digit = Character.digit(text.charAt(i), 16);
      if (digit < 0) {
        return -1;
      }
      value = value * 16 + digit;
    }
    return value;
  }
}
