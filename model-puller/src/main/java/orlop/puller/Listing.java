package orlop.puller;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Comparator;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Set;

/**
 * What a source holds at one moment: the names, sizes and versions of all files of one model.
 *
 * @param single whether the location is one file or object rather than a directory
 * @param items sorted by name, not empty
 */
record Listing(boolean single, List<Item> items) {

  /** A location with more files than this is taken for a mistake, not for a model. */
  static final int MAX_ITEMS = 100_000;

  /**
   * One file.
   *
   * @param name relative, with {@code /} between its parts; safe to resolve against a directory
   * @param key what the store calls it
   * @param bytes its size
   * @param version changes when the content does: an ETag, or the time of the last change
   */
  record Item(String name, String key, long bytes, String version) {}

  Listing {
    items = items.stream().sorted(Comparator.comparing(Item::name)).toList();
  }

  long bytes() {
    long bytes = 0;
    for (Item item : items) {
      bytes += item.bytes();
    }
    return bytes;
  }

  /** Identity of this content: SHA-256 over where it lies and every name, size and version. */
  String digest(String place) {
    MessageDigest sha;
    try {
      sha = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every Java platform has SHA-256", e);
    }
    update(sha, place);
    for (Item item : items) {
      update(sha, item.name());
      update(sha, Long.toString(item.bytes()));
      update(sha, item.version());
    }
    return HexFormat.of().formatHex(sha.digest());
  }

  private static void update(MessageDigest sha, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    sha.update((bytes.length + ":").getBytes(StandardCharsets.UTF_8));
    sha.update(bytes);
  }

  /**
   * Refuses names that would leave the directory they are resolved against, and names of which one
   * is a directory of the other: a store allows both, a disk neither.
   */
  static void requireSafeNames(Place place, List<Item> items) throws PullException {
    Set<String> files = new HashSet<>();
    for (Item item : items) {
      requireSafeName(place, item.name());
      files.add(item.name());
    }
    for (Item item : items) {
      String name = item.name();
      for (int slash = name.indexOf('/'); slash >= 0; slash = name.indexOf('/', slash + 1)) {
        if (files.contains(name.substring(0, slash))) {
          throw place.failure(
              PullException.Kind.BAD_LOCATION,
              "'" + name.substring(0, slash) + "' is both an object and a directory of objects");
        }
      }
    }
  }

  private static void requireSafeName(Place place, String name) throws PullException {
    for (String part : name.split("/", -1)) {
      if (part.isEmpty()
          || part.equals(".")
          || part.equals("..")
          || part.indexOf('\0') >= 0
          || part.indexOf('\\') >= 0) {
        throw place.failure(
            PullException.Kind.BAD_LOCATION,
            "the name '" + name.replace("\0", "\\0") + "' is not safe as a file name");
      }
    }
  }
}
