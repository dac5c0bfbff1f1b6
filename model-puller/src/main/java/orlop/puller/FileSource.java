package orlop.puller;

import java.io.File;
import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemLoopException;
import java.nio.file.FileVisitOption;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import org.jspecify.annotations.Nullable;
import orlop.puller.Listing.Item;
import orlop.puller.PullException.Kind;

/**
 * Files that the pod already sees, on its own disk or on a mounted claim: used where they lie,
 * never copied. Symbolic links are followed as far as {@code root}, where there is one.
 */
final class FileSource implements Source {
  private final Place place;
  private final Path path;
  private final @Nullable Path root;

  /**
   * @param root directory that neither the path nor a link inside it may leave, or null
   */
  FileSource(Place place, Path path, @Nullable Path root) {
    this.place = place;
    this.path = path;
    this.root = root;
  }

  @Override
  public Place place() {
    return place;
  }

  /** The files, after a look at each that they are there and readable. */
  Pulled inPlace() throws PullException {
    Listing listing = list();
    Path directory = listing.single() ? path.toAbsolutePath().getParent() : path;
    if (directory == null) {
      throw place.failure(Kind.BAD_LOCATION, path + " has no directory");
    }
    return new Pulled(directory, path, listing.bytes(), true, Pulled.Hold.NONE);
  }

  @Override
  public Listing list() throws PullException {
    List<Item> items = new ArrayList<>();
    try {
      Path real = path.toRealPath();
      Path realRoot = root == null ? null : root.toRealPath();
      requireInside(real, realRoot);
      boolean single = Files.isRegularFile(real);
      Files.walkFileTree(
          real,
          EnumSet.of(FileVisitOption.FOLLOW_LINKS),
          Integer.MAX_VALUE,
          new Collector(real, realRoot, items));
      if (items.isEmpty()) {
        throw place.failure(Kind.NOT_FOUND, path + " holds no files");
      }
      return new Listing(single, items);
    } catch (Refused e) {
      throw e.refusal;
    } catch (NoSuchFileException e) {
      throw place.failure(Kind.NOT_FOUND, missing(), e);
    } catch (AccessDeniedException e) {
      throw place.failure(Kind.FORBIDDEN, "no permission to read " + e.getFile(), e);
    } catch (FileSystemLoopException e) {
      throw place.failure(Kind.BAD_LOCATION, "a link leads back to itself: " + e.getFile(), e);
    } catch (IOException e) {
      throw place.failure(Kind.TRANSIENT, "reading " + path + " failed: " + e.getMessage(), e);
    }
  }

  private String missing() {
    Path ancestor = path.toAbsolutePath();
    while (ancestor != null && !Files.exists(ancestor)) {
      ancestor = ancestor.getParent();
    }
    return "there is no " + path + "; what exists of it is " + ancestor;
  }

  private void requireInside(Path real, @Nullable Path realRoot) throws PullException {
    if (realRoot != null && !real.startsWith(realRoot)) {
      throw place.failure(
          Kind.BAD_LOCATION, "it leads to " + real + ", which is outside of " + root);
    }
  }

  /** Carries a refusal out of the file walk, which lets only I/O errors through. */
  private static final class Refused extends IOException {
    private static final long serialVersionUID = 1L;

    @SuppressWarnings("serial") // never serialized: caught a few lines above
    private final PullException refusal;

    Refused(PullException refusal) {
      this.refusal = refusal;
    }
  }

  /** Notes every regular file below {@code top}, or {@code top} itself. */
  private final class Collector extends SimpleFileVisitor<Path> {
    private final Path top;
    private final @Nullable Path realRoot;
    private final List<Item> items;

    Collector(Path top, @Nullable Path realRoot, List<Item> items) {
      this.top = top;
      this.realRoot = realRoot;
      this.items = items;
    }

    @Override
    public FileVisitResult preVisitDirectory(Path directory, BasicFileAttributes attributes)
        throws IOException {
      refuseOutside(directory);
      return FileVisitResult.CONTINUE;
    }

    @Override
    public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
      if (!attributes.isRegularFile()) {
        return FileVisitResult.CONTINUE;
      }
      refuseOutside(file);
      if (!Files.isReadable(file)) {
        throw new AccessDeniedException(file.toString());
      }
      if (items.size() == Listing.MAX_ITEMS) {
        throw new Refused(
            place.failure(
                Kind.BAD_LOCATION, "more than " + Listing.MAX_ITEMS + " files: not one model"));
      }
      Path relative = file.equals(top) ? file.getFileName() : top.relativize(file);
      items.add(
          new Item(
              String.valueOf(relative).replace(File.separatorChar, '/'),
              file.toString(),
              attributes.size(),
              attributes.lastModifiedTime().toMillis() + "-" + attributes.size()));
      return FileVisitResult.CONTINUE;
    }

    private void refuseOutside(Path file) throws IOException {
      if (realRoot != null && Files.isSymbolicLink(file)) {
        try {
          requireInside(file.toRealPath(), realRoot);
        } catch (PullException e) {
          throw new Refused(e);
        }
      }
    }
  }
}
