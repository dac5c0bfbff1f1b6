package orlop.deploy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Date;
import java.util.List;
import java.util.stream.Stream;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedTrustManager;
import org.jspecify.annotations.Nullable;

/**
 * Some authorities, and whether they vouch for a certificate. Immutable.
 *
 * @param authorities none: they vouch for nobody
 */
record Trust(List<X509Certificate> authorities, @Nullable X509ExtendedTrustManager by) {
  /** Stands for the authorities that the Java machine knows. */
  static final String SYSTEM = "system";

  private static final String ANY_KEY = "UNKNOWN";

  /** The endings of the files that a directory is read for. */
  private static final List<String> ENDINGS = List.of(".pem", ".crt");

  private static final int MOST_FILES = 1_000;

  /** The authorities of files or directories with commas between them; none for the empty name. */
  static Trust in(String setting, String names) {
    if (names.equals(SYSTEM)) {
      return new Trust(List.of(), manager(null));
    }
    return of(setting, certificates(setting, names));
  }

  /** All certificates of files or directories with commas between them. */
  static List<X509Certificate> certificates(String setting, String names) {
    return paths(names)
        .flatMap(path -> files(setting, path).stream())
        .flatMap(file -> Pem.certificates(setting, file).stream())
        .toList();
  }

  /** The files and directories that those names with commas between them stand for. */
  static Stream<Path> paths(String names) {
    return Stream.of(names.split(",", -1))
        .map(String::strip)
        .filter(name -> !name.isEmpty())
        .map(Path::of);
  }

  /** The file itself, or those of a directory that are meant, by name; at least one. */
  private static List<Path> files(String setting, Path path) {
    if (!Files.isDirectory(path)) {
      return List.of(path);
    }
    List<Path> files;
    try (Stream<Path> inside = Files.list(path)) {
      files = inside.filter(Trust::isCertificate).sorted().limit(MOST_FILES + 1).toList();
    } catch (IOException | UncheckedIOException e) {
      throw new CommandException(
          "%s directory %s cannot be read: %s".formatted(setting, path, e.getMessage()),
          "check the directory, or unset " + setting,
          e);
    }
    if (files.isEmpty() || files.size() > MOST_FILES) {
      throw new CommandException(
          "%s directory %s holds %s files that end in .pem or .crt"
              .formatted(setting, path, files.isEmpty() ? "no" : "more than " + MOST_FILES),
          "expected 1 to %d; name files one by one, or unset %s".formatted(MOST_FILES, setting));
    }
    return files;
  }

  private static boolean isCertificate(Path file) {
    String name = String.valueOf(file.getFileName());
    return ENDINGS.stream().anyMatch(name::endsWith) && Files.isRegularFile(file);
  }

  /**
   * @throws CommandException when there are some and none of them is valid today
   */
  static Trust of(String setting, List<X509Certificate> authorities) {
    if (authorities.isEmpty()) {
      return new Trust(List.of(), null);
    }
    Date today = new Date();
    if (authorities.stream().allMatch(one -> today.after(one.getNotAfter()))) {
      throw new CommandException(
          "%s: %s expired on %s"
              .formatted(
                  setting,
                  Certificates.subject(authorities.getFirst()),
                  authorities.getFirst().getNotAfter()),
          "renew it");
    }
    try {
      KeyStore store = KeyStore.getInstance("PKCS12");
      store.load(null, null);
      for (int i = 0; i < authorities.size(); i++) {
        store.setCertificateEntry("authority-" + i, authorities.get(i));
      }
      return new Trust(List.copyOf(authorities), manager(store));
    } catch (GeneralSecurityException | IOException e) {
      throw new IllegalStateException("cannot keep certificates in memory", e);
    }
  }

  private static X509ExtendedTrustManager manager(@Nullable KeyStore store) {
    try {
      TrustManagerFactory factory =
          TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
      factory.init(store);
      for (TrustManager one : factory.getTrustManagers()) {
        if (one instanceof X509ExtendedTrustManager manager) {
          return manager;
        }
      }
      throw new IllegalStateException("the Java machine checks no certificates");
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("cannot check certificates", e);
    }
  }

  /**
   * Whether they vouch for a pod. One that is made for servers alone will do, since a pod shows the
   * same one when it calls.
   */
  void check(X509Certificate[] chain) throws CertificateException {
    List<CertificateException> refusals = new ArrayList<>();
    // One that is an authority itself is not looked at any further.
    chain[0].checkValidity();
    try {
      known().checkServerTrusted(chain, ANY_KEY);
      return;
    } catch (CertificateException e) {
      refusals.add(e);
    }
    try {
      known().checkClientTrusted(chain, ANY_KEY);
    } catch (CertificateException e) {
      throw refusals.getFirst();
    }
  }

  /** Whether they vouch for a caller from outside. */
  void checkCaller(X509Certificate[] chain, String keys) throws CertificateException {
    chain[0].checkValidity();
    known().checkClientTrusted(chain, keys);
  }

  /** Whether they vouch for a server, and its name is the one that was called. */
  void checkServer(X509Certificate[] chain, String keys, SSLEngine engine)
      throws CertificateException {
    chain[0].checkValidity();
    known().checkServerTrusted(chain, keys, engine);
  }

  private X509ExtendedTrustManager known() throws CertificateException {
    X509ExtendedTrustManager manager = by;
    if (manager == null) {
      throw new CertificateException("no authority is known that could vouch for it");
    }
    return manager;
  }
}
