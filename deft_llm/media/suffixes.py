"""Suffixes of the files that can hold a clip: one list for the commands, the demo and the server.

A suffix only says what is worth opening, and what a server takes; how a file is read depends on its
content. The commands read a file that is named whatever its suffix.
"""

from __future__ import annotations

#: Containers and bare streams, and GIF: in a folder, each such file is a clip, but for GIFs of a
#: single picture.
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".qt", ".avi", ".mkv", ".webm", ".gif", ".3g2", ".3gp", ".asf"),
    *(".divx", ".dv", ".f4v", ".flv", ".h264", ".264", ".h265", ".265", ".hevc", ".ivf", ".m1v"),
    *(".m2t", ".m2ts", ".m2v", ".mj2", ".mjpeg", ".mjpg", ".mpeg", ".mpg", ".mts", ".mxf", ".nut"),
    *(".ogg", ".ogv", ".ts", ".vob", ".wmv", ".y4m"),
)
#: Pictures that can be animated or hold a stack; in a folder, such files are frames.
MOVING_PICTURES = (".apng", ".png", ".webp", ".tif", ".tiff")
CLIP_SUFFIXES = (*VIDEO_SUFFIXES, *MOVING_PICTURES)
