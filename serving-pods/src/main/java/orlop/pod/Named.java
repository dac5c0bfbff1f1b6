package orlop.pod;

import io.grpc.Metadata;
import java.nio.charset.StandardCharsets;
import org.jspecify.annotations.Nullable;
import orlop.api.Headers;
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
  private static final Metadata.Key<String> MODEL = ascii(Headers.MODEL_ID);
  private static final Metadata.Key<String> ALIAS = ascii(Headers.VMODEL_ID);
  private static final Metadata.Key<byte[]> MODEL_BIN = binary(Headers.MODEL_ID);
  private static final Metadata.Key<byte[]> ALIAS_BIN = binary(Headers.VMODEL_ID);

  /** The name that answers carry: the one that the caller used. */
  String asked() {
    return alias.isEmpty() ? model.id() : alias;
  }

  /** The name by which the caller asks, before anything is looked up; empty when it gave none. */
  static String asked(Metadata headers, String nameInside) {
    String model = read(headers, MODEL, MODEL_BIN);
    if (model != null) {
      return model;
    }
    String alias = read(headers, ALIAS, ALIAS_BIN);
    return alias != null ? alias : nameInside;
  }

  /** Null when nothing of that name is registered. */
  static @Nullable Named resolve(MeshView view, Metadata headers, String nameInside) {
    String id = read(headers, MODEL, MODEL_BIN);
    String alias = read(headers, ALIAS, ALIAS_BIN);
    Model exact = id == null ? null : view.model(id);
    if (exact != null) {
      return new Named(exact, alias == null ? "" : alias);
    }
    String name = id != null ? id : alias != null ? alias : nameInside;
    Model model = view.resolve(name);
    return model == null ? null : new Named(model, view.alias(name) == null ? "" : name);
  }

  /** The headers for the next pod: as they came, but naming what this pod resolved. */
  Metadata forwardedBy(String podId, Metadata headers) {
    Metadata next = new Metadata();
    next.merge(headers);
    next.discardAll(MODEL);
    next.discardAll(MODEL_BIN);
    next.discardAll(ALIAS);
    next.discardAll(ALIAS_BIN);
    write(next, MODEL, MODEL_BIN, model.id());
    if (!alias.isEmpty()) {
      write(next, ALIAS, ALIAS_BIN, alias);
    }
    next.put(ascii(Headers.FORWARDED_BY), podId);
    return next;
  }

  static Metadata.Key<String> ascii(String name) {
    return Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER);
  }

  private static Metadata.Key<byte[]> binary(String name) {
    return Metadata.Key.of(name + Metadata.BINARY_HEADER_SUFFIX, Metadata.BINARY_BYTE_MARSHALLER);
  }

  private static @Nullable String read(
      Metadata headers, Metadata.Key<String> text, Metadata.Key<byte[]> bytes) {
    String value = headers.get(text);
    if (value != null) {
      return value;
    }
    byte[] encoded = headers.get(bytes);
    return encoded == null ? null : new String(encoded, StandardCharsets.UTF_8);
  }

  private static void write(
      Metadata headers, Metadata.Key<String> text, Metadata.Key<byte[]> bytes, String value) {
    if (value.chars().allMatch(c -> c > ' ' && c <= '~')) {
      headers.put(text, value);
    } else {
      headers.put(bytes, value.getBytes(StandardCharsets.UTF_8));
    }
  }
}
