package orlop.puller;

import com.fasterxml.jackson.annotation.JsonInclude;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.List;

/**
 * What one entry of the disk cache holds. It is written last: an entry without one is half an
 * entry.
 *
 * @param version of this format
 * @param source the location that brought it, see {@link Source.Remote#id}
 * @param digest identity of the content, see {@link Listing#digest}
 * @param single whether the model is one file
 * @param files all of them
 * @param made whether this process or one before it made the files from content that the source
 *     has, so that they can be made again
 */
record Manifest(
    int version,
    String source,
    String digest,
    boolean single,
    List<Stored> files,
    @JsonInclude(JsonInclude.Include.NON_DEFAULT) boolean made) {
  static final int VERSION = 1;
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String FILE = "manifest.json";

  /**
   * One file.
   *
   * @param name relative to the entry's content
   * @param bytes its size
   * @param etag the version that was pulled
   * @param verifiedBy the checksum that held, or {@code size} where the store had none
   */
  record Stored(String name, long bytes, String etag, String verifiedBy) {}

  long bytes() {
    long bytes = 0;
    for (Stored file : files) {
      bytes += file.bytes();
    }
    return bytes;
  }

  /** Writes it into an entry's directory by an atomic rename. */
  void write(Path entry) throws IOException {
    Path draft = entry.resolve(FILE + ".draft");
    try (FileChannel channel =
        FileChannel.open(draft, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      ByteBuffer bytes = ByteBuffer.wrap(JSON.writeValueAsBytes(this));
      while (bytes.hasRemaining()) {
        channel.write(bytes);
      }
      channel.force(true);
    }
    Files.move(draft, entry.resolve(FILE), StandardCopyOption.ATOMIC_MOVE);
  }

  /**
   * @throws IOException where there is none, or none of this version
   */
  static Manifest read(Path entry) throws IOException {
    Manifest manifest = JSON.readValue(file(entry).toFile(), Manifest.class);
    if (manifest.version != VERSION) {
      throw new IOException("manifest version " + manifest.version + ", expected " + VERSION);
    }
    return manifest;
  }

  /** The manifest's own place; the time of its last change is the last use of the entry. */
  static Path file(Path entry) {
    return entry.resolve(FILE);
  }

  /** Whether every file is there with its size. O(files). */
  boolean intact(Path content) {
    for (Stored file : files) {
      Path path = content.resolve(file.name());
      try {
        if (!Files.isRegularFile(path) || Files.size(path) != file.bytes()) {
          return false;
        }
      } catch (IOException e) {
        return false;
      }
    }
    return true;
  }
}
