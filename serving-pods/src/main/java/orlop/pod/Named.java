package orlop.pod;

import io.grpc.Metadata;
import io.grpc.Status;
import io.netty.handler.codec.http2.Http2Headers;
import io.netty.util.AsciiString;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import org.jspecify.annotations.Nullable;
import orlop.placement.MeshView;
import orlop.placement.Model;

/**
 * How a call names its model: header {@code mm-model-id}, else {@code mm-vmodel-id}, else the name
 * inside the message. Where both headers stand, the first says what runs and the second what the
 * answer calls it, which is how pods pass an alias on.
 *
 * @param model what runs
 * @param alias the alias that the caller named, or empty
 */
record Named(Model model, String alias) {
  /**
   * The version of every model. What lies under an id never changes, so there is just one; who
   * wants another registers another model and moves an alias.
   */
  static final String VERSION = "1";

  /** Why a version cannot be served; null when it can, which the empty one always can. */
  @Nullable Status refuseVersion(String version) {
    return version.isEmpty() || version.equals(VERSION)
        ? null
        : Status.NOT_FOUND.withDescription(
            "model '%s' has no version '%s', it has version %s"
                .formatted(asked(), version, VERSION));
  }

  /** The name that answers carry: the one that the caller used. */
  String asked() {
    return alias.isEmpty() ? model.id() : alias;
  }

  /**
   * What the headers of a call say about its model.
   *
   * @param id from {@code mm-model-id}
   * @param alias from {@code mm-vmodel-id}
   * @param byPod whether a pod says so, which may know of an alias earlier than this one
   */
  record Asked(@Nullable String id, @Nullable String alias, boolean byPod) {
    private static final Asked NOTHING = new Asked(null, null, false);

    static Asked in(RequestHeaders headers) {
      String id = read(headers, Wire.MODEL, Wire.MODEL_BIN);
      String alias = read(headers, Wire.ALIAS, Wire.ALIAS_BIN);
      if (id == null && alias == null) {
        id = headers.get(Wire.MODEL_OLD);
      }
      return id == null && alias == null
          ? NOTHING
          : new Asked(id, alias, headers.get(Wire.FORWARDED_BY) != null);
    }

    /** Whether headers alone say which model is meant. */
    boolean byHeaders() {
      return this != NOTHING;
    }

    /** The name by which the caller asks, before anything is looked up; empty when none. */
    String name(String nameInside) {
      return id != null ? id : alias != null ? alias : nameInside;
    }

    /**
     * Null when nothing of that name is registered.
     *
     * @param insideIsId whether the name in the message is a model's id, even if an alias is called
     *     so too
     */
    @Nullable Named resolve(MeshView view, String nameInside, boolean insideIsId) {
      String exactly = id != null ? id : insideIsId && alias == null ? nameInside : null;
      Model exact = exactly == null ? null : view.model(exactly);
      if (exact != null) {
        // Names that nobody registered would be labels of metrics and lines of logs.
        if (alias != null && (byPod || view.alias(alias) != null)) {
          return new Named(exact, alias);
        }
        return new Named(exact, "");
      }
      String name = name(nameInside);
      Model model = view.resolve(name);
      return model == null ? null : new Named(model, view.alias(name) == null ? "" : name);
    }
  }

  /** Makes the headers name what this pod resolved. */
  void writeTo(Http2Headers headers) {
    write(headers, Wire.MODEL, Wire.MODEL_BIN, model.id());
    if (alias.isEmpty()) {
      headers.remove(Wire.ALIAS);
      headers.remove(Wire.ALIAS_BIN);
    } else {
      write(headers, Wire.ALIAS, Wire.ALIAS_BIN, alias);
    }
  }

  static Metadata.Key<String> ascii(String name) {
    return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
  }

  private static @Nullable String read(
      RequestHeaders headers, AsciiString text, AsciiString bytes) {
    String value = headers.get(text);
    return value != null ? value : headers.get(bytes);
  }

  private static void write(
      Http2Headers headers, AsciiString text, AsciiString bytes, String value) {
    if (printable(value)) {
      headers.remove(bytes);
      headers.set(text, AsciiString.of(value));
    } else {
      headers.remove(text);
      byte[] utf8 = value.getBytes(StandardCharsets.UTF_8);
      headers.set(bytes, AsciiString.of(Base64.getEncoder().withoutPadding().encodeToString(utf8)));
    }
  }

  private static boolean printable(String value) {
    for (int i = 0; i < value.length(); i++) {
      char c = value.charAt(i);
      if (c <= ' ' || c > '~') {
        return false;
      }
    }
    return true;
  }
}
